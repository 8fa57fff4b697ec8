"""The bars, on runs whose figures one can see."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tdml.monitor.history import History, read
from tdml.paper.bars import BARS, MET, MISSED, NOT_RUN, Bar, bar_results
from tdml.paper.runs import SMALL, Run, all_runs
from tests.monitor.run_folders import leave_run

NEAR, NEAR_8, REACHES, UNHARMED, AT_ONCE = BARS
RUNS = {run.name: run for run in all_runs()}


@pytest.fixture
def play(tmp_path: Path):
    """Plays a run of the paper's, with these accuracies in the last rounds of all."""

    def played(
        name: str, *last: float, begun: int | None = None, banned: dict | None = None
    ) -> dict[str, History]:
        run = RUNS[name]
        before = [0.1] * (run.rounds - len(last))
        accuracies = [*before, *last] if begun is None else [0.1] * begun
        given = [text for text in run.settings if not text.startswith("recipe=")]
        leave_run(
            tmp_path / name, *given, accuracies=accuracies, ended=begun is None, banned=banned
        )
        return {name: read(tmp_path / name)}

    return played


def _says(bar: Bar, name: str, histories: dict[str, History]) -> tuple[str, str]:
    [found] = [
        one for one in bar_results(bar, list(RUNS.values()), histories) if one.run.name == name
    ]
    return found.status, found.figure


@pytest.mark.parametrize(
    ("bar", "name", "accuracy", "expected"),
    [
        (NEAR, "resnet18-paper-2x2", 0.90, (MET, "-0.0100")),
        (NEAR, "resnet18-paper-4x2", 0.8999, (MISSED, "-0.0101")),
        (NEAR, "resnet18-paper-4x8", 0.95, (MET, "+0.0400")),
        (NEAR_8, "resnet18-paper-8x1", 0.89, (MET, "-0.0200")),
        (NEAR_8, "resnet18-paper-8x1", 0.8899, (MISSED, "-0.0201")),
    ],
)
def test_a_run_ends_near_one_machine(bar, name, accuracy, expected, play) -> None:
    baseline = RUNS[name].baseline.name
    assert _says(bar, name, play(name, accuracy) | play(baseline, 0.91)) == expected


def test_a_run_is_held_against_the_baseline_of_as_many_rounds(play) -> None:
    histories = play("resnet18-paper-8x2", 0.9) | play("resnet18-paper-1x1", 0.5)
    assert _says(NEAR_8, "resnet18-paper-8x2", histories) == (
        "resnet18-paper-1x1-100 has not ended",
        "",
    )
    histories |= play("resnet18-paper-1x1-100", begun=3)
    assert _says(NEAR_8, "resnet18-paper-8x2", histories) == (
        "resnet18-paper-1x1-100 has not ended",
        "",
    )


def test_only_runs_that_have_ended_are_judged(play) -> None:
    histories = play("resnet18-paper-2x2", begun=34) | play("resnet18-paper-1x1", 0.9)
    for bar in (NEAR, REACHES):
        assert _says(bar, "resnet18-paper-2x2", histories) == ("at round 34 of 75", "")
        assert _says(bar, "resnet18-paper-4x2", histories) == (NOT_RUN, "")


@pytest.mark.parametrize(
    ("last", "expected"),
    [((0.9, 0.88), (MET, "round 74")), ((0.8999, 0.5), (MISSED, "0.8999"))],
)
def test_nine_of_ten_are_reached_in_some_round(last: Sequence[float], expected, play) -> None:
    assert _says(REACHES, "resnet50-paper-4x4", play("resnet50-paper-4x4", *last)) == expected


@pytest.mark.parametrize(
    ("alone", "expected"),
    [
        ({"begun": 70}, "0.8700"),
        ({"last": 0.91}, "0.8700"),
        ({"last": 0.88}, "0.8700; the recipe is the limit: one machine 0.8800"),
    ],
)
def test_that_one_machine_does_not_reach_it_either_is_said(alone, expected, play) -> None:
    last = [alone.pop("last")] if "last" in alone else []
    histories = play("resnet18-paper-2x2", 0.87) | play("resnet18-paper-1x1", *last, **alone)
    assert _says(REACHES, "resnet18-paper-2x2", histories) == (MISSED, expected)


def test_an_attack_does_no_harm(play) -> None:
    name = "resnet18-paper-4x2-gaussian"
    clean = play("resnet18-paper-4x2", 0.9)
    assert _says(UNHARMED, name, clean | play(name, 0.895)) == (MET, "-0.0050")
    assert _says(UNHARMED, "resnet18-paper-4x2-mean_shift", clean | play("resnet18-paper-4x2-mean_shift", 0.89)) == (
        MISSED, "-0.0100",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("banned", "expected"),
    [
        ({10: ["r3.s0", "r3.s1"]}, (MET, "round 10")),
        ({10: ["r3.s0"], 12: ["r3.s1"]}, (MISSED, "r3.s1 in round 12")),
        ({10: ["r3.s0"]}, (MISSED, "r3.s1 never")),
        ({9: ["r3.s0", "r3.s1"]}, (MISSED, "r3.s0 in round 9, r3.s1 in round 9")),
    ],
)
def test_attackers_are_banned_at_once(banned, expected, play) -> None:
    name = "resnet50-paper-4x2-gaussian"
    assert _says(AT_ONCE, name, play(name, 0.9, banned=banned)) == expected


def test_whom_the_bars_concern() -> None:
    concerned = [{one.run for one in bar_results(bar, list(RUNS.values()), {})} for bar in BARS]
    assert set.union(*concerned) == {
        run for run in RUNS.values() if run.replicas > 1 and run.defended
    }
    assert all(
        run.model == SMALL or (run.recipe == "paper" and not run.longer) for run in concerned[2]
    )
    assert Run(SMALL, "fast", 2, 2) in concerned[2]
    assert (
        concerned[3]
        == concerned[4]
        == {run for run in RUNS.values() if run.attack and run.defended}
    )
    assert Run("resnet50", "fast", 8, 8) in concerned[1]
