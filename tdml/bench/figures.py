"""`tdml bench figures`: the pictures of docs/detection.md, drawn from runs of the laboratory."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.progress import track

from tdml.bench.court import Round, cross_check
from tdml.bench.federation import Federation
from tdml.bench.grids import CLEAN, Case
from tdml.bench.runs import run_case
from tdml.errors import SettingError, one_line
from tdml.monitor.figures import ACCUSED, HONEST
from tdml.trust.advantage import Advantage, own_advantage
from tdml.trust.aggregate import weighted_mean
from tdml.trust.cross_check import plan_checks
from tdml.trust.ranking import Moments, rank_moments
from tdml.trust.verdict import Verdict

_BASE = Case("digits-mlp", 8, 2, 10, CLEAN, "tdml", 0, 10)
_SHOWN = {CLEAN: "no attack", "alie": "ALIE", "sign_flip": "own update, sign flipped", "honest_noise": "honest noise"}
_ROUNDS = 8  # of the scatter
_STRENGTHS = {
    "backdoor": ("share", "share of the samples that are poisoned", (0.1, 0.3, 0.5, 0.75, 1.0)),
    "sign_flip": ("share_of_rounds", "share of the rounds in which it acts", (0.1, 0.2, 0.4, 0.7, 1.0)),
    "scaled": ("scale", "factor", (1.5, 2.0, 3.0, 5.0, 8.0)),
}
_SEEDS = (0, 1)


def run(out: Path) -> int:
    """Write scatter.svg and strength.svg into a folder; a few minutes.

    Raises:
        SettingError: `out` cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, draw in (("scatter", scatter), ("strength", strength)):
            path = out / f"{name}.svg"
            draw().savefig(path, metadata={"Date": None})
            print(path)
    except OSError as error:
        raise SettingError(f"--out {out} cannot be written: {one_line(error)}") from error
    return 0


def scatter() -> Figure:
    """For some attacks what each stage sees of the replicas, one point a replica and round: the mean and the spread of
    their ranks above, their own advantage below."""
    figure = Figure(figsize=(11, 5.4), layout="constrained")
    axes = figure.subplots(2, len(_SHOWN))
    for column, (attack, title) in enumerate(track(_SHOWN.items(), "scatter", transient=True)):
        case = replace(_BASE, attack=attack, attackers=0 if attack == CLEAN else _BASE.attackers)
        for attacking, moments, advantage in _points(case):
            colours = [ACCUSED if bad else HONEST for bad in attacking]
            axes[0, column].scatter(moments.mean, moments.std, c=colours, s=12, alpha=0.7, linewidths=0)
            axes[1, column].scatter(advantage.expected, advantage.t, c=colours, s=12, alpha=0.7, linewidths=0)
        axes[0, column].set(title=title, xlabel="mean of ranks", xlim=(3.2, 5.8), ylim=(0, 4))
        _work_lines(axes[1, column])
    axes[0, 0].set_ylabel("standard deviation of ranks")
    axes[1, 0].set_ylabel("own advantage t")
    return figure


def strength() -> Figure:
    """Recall against strength, for some attacks: of the screen alone and of both stages, within ten rounds."""
    figure = Figure(figsize=(9, 3.1), layout="constrained")
    for axes, (attack, (setting, label, values)) in zip(
        figure.subplots(1, len(_STRENGTHS)), track(_STRENGTHS.items(), "strength", transient=True), strict=True
    ):
        for defence, name in (("screen", "screen alone"), ("tdml", "both stages")):
            recalls = [_recall(attack, f"attack.{setting}={value}", defence) for value in values]
            axes.plot(values, recalls, marker="o", label=name)
        axes.set(title=attack, xlabel=label, ylim=(-0.05, 1.05))
        axes.grid(alpha=0.25)
    figure.axes[0].set_ylabel("found within ten rounds")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _points(case: Case) -> Iterator[tuple[list[bool], Moments, Advantage]]:
    """Round by round: who attacks, the moments of the ranks, the own advantages. Only honest updates are averaged."""
    federation = Federation(case.overrides())
    everyone, attacking = list(range(case.replicas)), case.attacking if case.attackers else []
    validation = federation.job.source.size("validation")
    for number in range(1, _ROUNDS + 1):
        updates = federation.updates(number)
        stages = [torch.stack(parts) for parts in zip(*(updates[replica] for replica in everyone), strict=True)]
        found = Round(federation, number, everyone, stages)
        plan = plan_checks(
            everyone, [], 3, federation.job.distinct(number, everyone), validation, math.inf, found.generator()
        )
        assert plan is not None
        hearing = cross_check(found, plan, frozenset(), lambda _: [Verdict("honest")] * case.replicas)
        assert hearing is not None
        honest = [replica for replica in everyone if replica not in attacking]
        yield (
            [replica in attacking for replica in everyone],
            rank_moments(torch.cat(stages, dim=1)),
            own_advantage(hearing.exam, federation.job.alike, honest),
        )
        federation.step([weighted_mean(updates[honest], [1.0] * len(honest)) for updates in stages])


def _work_lines(axes: Axes) -> None:
    axes.axline((0, 0), slope=1, color="0.6", lw=0.8, ls="--")
    axes.axhline(0, color="0.6", lw=0.8)
    axes.set(xlabel="own advantage that is expected", xlim=(0, 9), ylim=(-6, 9))


def _recall(attack: str, strength: str, defence: str) -> float:
    base = replace(_BASE, attack=attack, defence=defence, extra=(strength,))
    results = [run_case(replace(base, seed=seed)) for seed in _SEEDS]
    attackers = [a for result in results for a in result["attackers"] if a["first_act"] is not None]
    return sum(a["convicted"] is not None for a in attackers) / max(1, len(attackers))
