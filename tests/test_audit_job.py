"""Audits in whole jobs: real processes, real groups. With the whole budget every liar is convicted
in its first round, and nobody else ever is. The same lies, many more of them, are told in one
process in tests/round/test_disputes.py."""

from pathlib import Path

import pytest

from tests.jobs import SMALL, Result, run_job
from tests.run_ledgers import verify

_slow = pytest.mark.slow
_JOB = [*SMALL, "trust.budget=1", "sync.local_steps=6", "train.lr=0.02"]
_FOUR = [*_JOB, "topology.replicas=4", "topology.stages=1"]
_MARKED = [
    "model._target_=tests.round.hidden.marked", "~model.width", "~model.channels", "~model.norm",
    "data.size=8",
]  # fmt: skip
_PIPELINES = [*_JOB, "topology.replicas=3", "topology.stages=2", "train.clip_norm=1"]


def run(folder: Path, job: list[str], *overrides: str, seconds: float = 120) -> Result:
    return run_job(folder / "run", 5 if job is _FOUR else 7, *job, *overrides, seconds=seconds)


def hostile(kind: str, node: str, **attributes: object) -> list[str]:
    given = [f"+attack.{name}={value}" for name, value in attributes.items()]
    return [
        "attack._target_=tests.hostile_workers.Hostile",
        f"+attack.kind={kind}",
        f"attack.nodes=[{node}]",
        *given,
    ]


def assert_clean(result: Result, replicas: int) -> None:
    assert set(result.statuses) == {0}, result.output
    assert result.summary["banned"] == []
    for line in result.rounds:
        for index in range(replicas):
            found = line["replicas"][str(index)]
            assert (found["verdict"], found["reason"]) == ("honest", ""), found


def assert_convicted(result: Result, node: str) -> None:
    """This node and nobody else, in the first round."""
    assert set(result.statuses) == {0}, result.output
    assert result.summary["banned"] == [node], result.why()
    line = result.rounds[0]
    assert line["replicas"][node[1]]["nodes"] == [node], result.why()
    assert int(node[1]) not in line["accepted"]
    for index, found in line["replicas"].items():
        assert index == node[1] or found["verdict"] == "honest", result.why()


@_slow  # tests/test_recipe_job.py repeats two rounds of another job
@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["sync.local_steps=1"],
        ["trust.audit_memory=0"],
        ["gather.memory=0"],
        ["train=adamw", "train.lr=0.003"],
        ["sync=nesterov"],
    ],
    ids=" ".join,
)
def test_honest_rounds_are_repeated_bit_for_bit(overrides: list[str], tmp_path: Path) -> None:
    assert_clean(run(tmp_path, _FOUR, "rounds=2", *overrides), 4)


@_slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["topology.schedule=interleaved_1f1b"],
        ["model._target_=tests.hostile_workers.Dropout", "~model.norm"],
    ],
    ids=" ".join,
)
def test_honest_pipelines_are_repeated_bit_for_bit(overrides: list[str], tmp_path: Path) -> None:
    assert_clean(run(tmp_path, _PIPELINES, "rounds=2", *overrides), 3)


@_slow
@pytest.mark.timeout(900)
def test_two_hundred_honest_rounds_accuse_nobody(tmp_path: Path) -> None:
    """Eight replicas, thirty rounds: 240 audited rounds of a replica."""
    job = [*_JOB, "topology.replicas=8", "topology.stages=1", "rounds=30"]
    result = run_job(tmp_path / "run", 9, *job, seconds=850)
    assert len(result.rounds) == 30
    assert_clean(result, 8)


# Every operation of every stage, and validators that lie in it.
_LIES = [
    ("activation", "r1.s0"), ("gradient", "r1.s1"), ("norm", "r1.s0"), ("norm", "r1.s1"),
    ("state", "r1.s0"), ("state", "r1.s1"), ("update", "r1.s0"), ("update", "r1.s1"),
]  # fmt: skip
_CASES = [_LIES[0], *(pytest.param(*lie, marks=_slow) for lie in _LIES[1:])]


@pytest.mark.parametrize(("deed", "node"), _CASES)
def test_a_lie_in_an_operation_names_who_told_it(deed: str, node: str, tmp_path: Path) -> None:
    assert_convicted(run(tmp_path, _PIPELINES, "rounds=1", *hostile("Liar", node, deed=deed)), node)


@pytest.mark.parametrize(("deed", "node"), _CASES)
def test_a_validator_that_lies_in_an_operation_is_named(
    deed: str, node: str, tmp_path: Path
) -> None:
    """Of two replicas: the one repeats all of the other's windows, whatever is drawn. Nobody else
    could repeat what is left of them, so the coordinator looks at them itself."""
    lie = hostile("Liar", node, deed=deed, when="as\\ validator")
    result = run_job(
        tmp_path / "run", 5, *_PIPELINES, "topology.replicas=2", "rounds=1", *lie, seconds=120
    )
    assert result.summary["banned"] == [node], result.why()
    other = result.rounds[0]["replicas"]["0"]
    assert (other["verdict"], other["reason"]) == ("honest", "")


@_slow
def test_who_says_when_it_is_met_that_it_is_a_gpu_is_not_let_off(tmp_path: Path) -> None:
    """As it was none when the round began, it can repeat nothing of its own any more."""
    model = ["model._target_=tests.hostile_workers.Dropout", "~model.norm"]
    result = run(tmp_path, _FOUR, "rounds=1", *model, *hostile("ChangesKind", "r1.s0"))
    assert result.verdicts(1) == ["suspicious"], result.why()
    assert "confirms nobody" not in result.why()
    assert result.rounds[0]["accepted"] == [0, 2, 3]


@_slow
def test_where_both_lie_both_are_banned_and_nobody_else(tmp_path: Path) -> None:
    """One honest validator is enough."""
    attack = hostile("LiesTwice", "r1.s0,r2.s1", deed="state")
    result = run(tmp_path, _PIPELINES, "rounds=1", *attack)
    assert sorted(result.summary["banned"]) == ["r1.s0", "r2.s1"], result.why()
    assert result.rounds[0]["accepted"] == [0]


@_slow
def test_of_two_neighbours_in_league_the_first_is_named(tmp_path: Path) -> None:
    result = run(
        tmp_path, _PIPELINES, "rounds=1", *hostile("Liar", "r1.s0,r1.s1", deed="activation")
    )
    assert_convicted(result, "r1.s0")


@_slow
def test_a_false_kind_of_machine_gets_nobody_else_banned(tmp_path: Path) -> None:
    """Nobody repeats its work, and the coordinator looks at single steps."""
    result = run(tmp_path, _FOUR, "rounds=3", *hostile("OnAKindOfItsOwn", "r2.s0"))
    assert set(result.statuses) == {0}, result.output
    assert set(result.summary["banned"]) <= {"r2.s0"}, result.why()
    for line in result.rounds:
        assert {0, 1, 3} <= set(line["accepted"]), result.why()


@pytest.mark.parametrize(
    "attack",
    [
        hostile("Liar", "r1.s0", deed="sends"),
        pytest.param(hostile("LeavesOutSteps", "r1.s1"), marks=_slow),
    ],
    ids=["sends", "leaves out"],
)
def test_who_records_other_than_passed_loses_the_round(attack: list[str], tmp_path: Path) -> None:
    """Which of the two ends does, nobody else can tell."""
    result = run(tmp_path, _PIPELINES, "rounds=1", *attack)
    assert result.summary["banned"] == []
    assert result.verdicts(1) == ["lost"]
    assert (
        "stages 0 and 1 do not agree on what passed between them"
        in result.rounds[0]["replicas"]["1"]["reason"]
    )


@_slow
@pytest.mark.parametrize("kind", ["CommitsToNothing", "ShowsAnotherState"])
def test_who_cannot_show_what_it_had_committed_to_is_banned(kind: str, tmp_path: Path) -> None:
    assert_convicted(run(tmp_path, _PIPELINES, "rounds=1", *hostile(kind, "r1.s1")), "r1.s1")


@pytest.mark.parametrize(
    "kind", [pytest.param("IsSilent", marks=pytest.mark.slow), "DiesWhenAsked"]
)
def test_silence_is_no_proof_and_does_not_count(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    result = run(tmp_path, _FOUR, "rounds=2", *hostile(kind, "r2.s0"))
    assert result.summary["banned"] == []
    assert result.verdicts(2)[0] == "suspicious"
    assert "has not shown its work" in result.rounds[0]["replicas"]["2"]["reason"]
    assert [line["accepted"] for line in result.rounds] == [[0, 1, 3]] * 2
    verify(result.run, capsys)


def test_who_finds_something_else_whenever_it_repeats_its_own_work_is_convicted_by_the_first(
    tmp_path: Path,
) -> None:
    """What it had committed to is false, whatever it says afterwards."""
    assert_convicted(run(tmp_path, _FOUR, "rounds=1", *hostile("Wavers", "r2.s0")), "r2.s0")


def test_states_that_nobody_can_go_on_from_cost_no_round_its_figures(tmp_path: Path) -> None:
    """Both replicas have lost their groups over the audit."""
    two = [*_JOB, "topology.replicas=2", "topology.stages=1", "rounds=3", *_MARKED]
    result = run_job(tmp_path / "run", 3, *two, *hostile("Sulks", "r1.s0"))
    assert set(result.statuses) == {0}, result.output
    assert result.summary["banned"] == ["r1.s0"], result.why()
    assert [line["accepted"] for line in result.rounds] == [[0]] * 3
    assert all(line["test_accuracy"] is not None for line in result.rounds)
    first = " ".join(result.rounds[0]["notes"])
    assert "replica 0 lost" in first and "replica 1 lost" in first
