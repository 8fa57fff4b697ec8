"""The hearing: what the validators testify becomes the losses that candidates are judged by.

Validators may lie. The jury's word is the median of what they say; where they differ, or where their word
goes against a candidate, all other replicas are asked too. So it takes a majority of all to harm anyone; to
cover someone for a round it takes a whole jury, drawn at random, of liars. Evaluations can be repeated
exactly, so honest validators say the same, and a liar stands alone.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import torch

from tdml.trust.cross_check import agreed, dissenters
from tdml.trust.exam import Exam, Hearing
from tdml.trust.verdict import HONEST, Verdict

_AGAINST = 2.0  # nats in one round: seldom for an honest candidate
_MANY = 3  # validators, of whom one can be outvoted


# candidate → those who evaluate it; None: the weights that the round started from
Juries = Mapping[int | None, tuple[int, ...]]
# candidate → validator → (s,) losses, of those who answered
Testimony = Mapping[int | None, Mapping[int, torch.Tensor]]


def hold_hearing(
    juries: Juries, replicas: int, labels: torch.Tensor, owners: torch.Tensor, suspects: Collection[int],
    ask: Callable[[Juries], Testimony], judge: Callable[[Hearing], Sequence[Verdict]],
) -> Hearing | None:  # fmt: skip
    """Have candidates heard: by their juries, then, where that does not settle it, by all others.

    Args:
        replicas: how many handed in an update; all are named by their rows, 0 to `replicas` − 1.
        labels, owners, suspects: see `hear`.
        ask: has juries evaluate their candidates.
        judge: the verdicts, by row, that a hearing leads to.

    Returns None if nobody's testimony on any candidate, or on the round's start, came back.
    """
    told = {candidate: dict(reports) for candidate, reports in ask(juries).items() if reports}
    if None not in told or len(told) == 1:
        return None
    while True:
        hearing = hear(told, labels, owners, suspects)
        rest = _still_to_ask(told, judge(hearing), owners, replicas)
        answers = ask(rest) if rest else {}
        if not any(answers.values()):
            return hearing
        for candidate, reports in answers.items():
            told[candidate] |= reports


def _still_to_ask(
    told: Mapping[int | None, dict[int, torch.Tensor]], verdicts: Sequence[Verdict], owners: torch.Tensor, replicas: int
) -> Juries:
    """Those who have not spoken yet on what is unsettled: where a jury differs, or speaks against its candidate."""
    unsettled = [
        candidate
        for candidate, jury in told.items()
        if dissenters(jury, owners == candidate if candidate is not None else None)
        or (candidate is not None and _is_accused(verdicts[candidate]))
    ]
    rest = {c: tuple(i for i in range(replicas) if i != c and i not in told[c]) for c in unsettled}
    return {candidate: jury for candidate, jury in rest.items() if jury}


def hear(told: Testimony, labels: torch.Tensor, owners: torch.Tensor, suspects: Collection[int]) -> Hearing:
    """Sum up the testimony, which covers the round's start and one candidate at least.

    Args:
        labels: (s,) int64 of the samples.
        owners: (s,) int64: the candidate that was assigned the sample, −1 for held-out samples.
        suspects: of the screen. Validators may well differ on what a corrupt update does, so nobody is called a
            liar for what he says of them.
    """
    reports = {candidate: jury for candidate, jury in told.items() if candidate is not None}
    candidates = tuple(sorted(reports))
    position = {row: i for i, row in enumerate(candidates)} | {-1: -1}
    rows = torch.tensor([position.get(int(row), len(candidates)) for row in owners])
    after = torch.stack([agreed(reports[row]) for row in candidates])
    exam = Exam(agreed(told[None]), after, labels, rows)
    judges = {row: tuple(sorted(jury)) for row, jury in reports.items()}
    contradicted = _contradicted(reports, owners, suspects)
    perjurers = {
        liar: f"its judgement of {len(victims)} candidate{'s' if len(victims) > 1 else ''} contradicts all others'"
        for liar, victims in contradicted.items()
    }
    return Hearing(candidates, exam, perjurers, judges, contradicted)


def _contradicted(
    reports: Mapping[int, Mapping[int, torch.Tensor]], owners: torch.Tensor, suspects: Collection[int]
) -> dict[int, tuple[int, ...]]:
    """Validators who contradict all others, who agree among themselves, and the candidates on whom they do."""
    found: dict[int, list[int]] = {}
    for candidate, jury in reports.items():
        if candidate in suspects or len(jury) < _MANY:
            continue
        own = owners == candidate
        liars = dissenters(jury, own)
        honest = {juror: report for juror, report in jury.items() if juror not in liars}
        if len(honest) > len(jury) / 2 and not dissenters(honest, own):
            for liar in liars:
                found.setdefault(liar, []).append(candidate)
    return {liar: tuple(victims) for liar, victims in found.items()}


def _is_accused(verdict: Verdict) -> bool:
    return verdict.status != HONEST or verdict.against > _AGAINST
