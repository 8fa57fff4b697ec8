"""The bars that the paper's runs are held against, and which of them are met."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tdml.monitor.history import History
from tdml.paper.runs import SMALL, Run

MET, MISSED, NOT_RUN = "met", "missed", "not run"
_ACCURACY = 0.9
_BELOW_ONE_MACHINE = {2: 0.01, 4: 0.01, 8: 0.02}  # by replicas
_BELOW_WITHOUT_ATTACK = 0.005
_TINY = 1e-9  # differences are of numbers with a few digits

Histories = Mapping[str, History]  # by the name of the run


@dataclass(frozen=True)
class Bar:
    """What is asked of some runs. `judge` says MET, MISSED or what is missing, and the figure that
    it rests on."""

    text: str
    concerns: Callable[[Run], bool]
    judge: Callable[[Run, History, Histories], tuple[str, str]]


@dataclass(frozen=True)
class BarResult:
    """What a bar says of one run: met, missed, not run, or how far it has come."""

    run: Run
    status: str
    figure: str = ""


def bar_results(bar: Bar, runs: Sequence[Run], histories: Histories) -> list[BarResult]:
    """What a bar says of each run that it concerns. Only runs that have ended meet or miss it."""
    return [BarResult(run, *_judge(bar, run, histories)) for run in runs if bar.concerns(run)]


def _judge(bar: Bar, run: Run, histories: Histories) -> tuple[str, str]:
    history = histories.get(run.name)
    if history is None:
        return NOT_RUN, ""
    if not history.ended:
        return (
            f"at round {history.last.round if history.last else 0} of {history.settings['rounds']}",
            "",
        )
    return bar.judge(run, history, histories)


def _near_one_machine(run: Run, history: History, histories: Histories) -> tuple[str, str]:
    return _near(history, run.baseline, _BELOW_ONE_MACHINE[run.replicas], histories)


def _near_without_attack(run: Run, history: History, histories: Histories) -> tuple[str, str]:
    return _near(history, run.without_attack, _BELOW_WITHOUT_ATTACK, histories)


def _near(history: History, other: Run, below: float, histories: Histories) -> tuple[str, str]:
    """Whether a run has ended at most so far below another one, after as many rounds."""
    reference, last = histories.get(other.name), history.last
    theirs = reference.accuracy(last.round) if last and reference and reference.ended else None
    if theirs is None or last is None or last.test_accuracy is None:
        return f"{other.name} has not ended", ""
    difference = last.test_accuracy - theirs
    return MET if difference >= -below - _TINY else MISSED, f"{difference:+.4f}"


def _reaches(run: Run, history: History, histories: Histories) -> tuple[str, str]:
    """Whether it has been as good in any round up to its own last. Where one machine has not
    either, the recipe is the limit."""
    reached = history.first_round_at(_ACCURACY)
    if reached is not None:
        return MET, f"round {reached}"
    alone = histories.get(run.baseline.name)
    if alone is None or not alone.ended or alone.first_round_at(_ACCURACY) is not None:
        return MISSED, _best(history)
    return MISSED, f"{_best(history)}; the recipe is the limit: one machine {_best(alone)}"


def _best(history: History) -> str:
    return f"{max((line.test_accuracy or 0.0 for line in history.rounds), default=0.0):.4f}"


def _banned_at_once(run: Run, history: History, histories: Histories) -> tuple[str, str]:
    """Whether every node that attacks was banned in the attack's first round."""
    first = history.attacked_from
    attackers = sorted(history.attackers)
    late = {node: history.bans.get(node) for node in attackers if history.bans.get(node) != first}
    if not late:
        return MET, f"round {first}"
    return MISSED, ", ".join(
        f"{node} " + ("never" if n is None else f"in round {n}") for node, n in late.items()
    )


BARS = (
    Bar(
        "2 and 4 replicas end at most 0.01 below one machine, with the same recipe and after the "
        "same rounds",
        lambda run: run.replicas in (2, 4) and not run.attack, _near_one_machine,
    ),
    Bar(
        "8 replicas end at most 0.02 below it",
        lambda run: run.replicas == 8 and not run.attack, _near_one_machine,
    ),
    Bar(
        "With the paper's recipe 2 and 4 replicas reach 0.90 by round 75, 8 by round 100; with a "
        "stem for small pictures by the last round of either recipe",
        lambda run: (
            run.replicas > 1
            and not run.attack
            and (run.model == SMALL or (run.recipe == "paper" and not run.longer))
        ),
        _reaches,
    ),
    Bar(
        "Under each attack, defended, a run ends at most 0.005 below the one without it",
        lambda run: bool(run.attack) and run.defended, _near_without_attack,
    ),
    Bar(
        "Attackers are banned in the round of their first deed",
        lambda run: bool(run.attack) and run.defended, _banned_at_once,
    ),
)  # fmt: skip
