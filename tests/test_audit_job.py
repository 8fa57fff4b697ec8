"""Audits in whole jobs: at rate 1 every liar is convicted in its first round, and nobody else ever is.

With `-s` the tests of attacks print their relative errors, the rows of the table of margins.
"""

import re
from itertools import product
from pathlib import Path

import pytest

from tests.jobs import SMALL, Result, run_job

_slow = pytest.mark.slow
_JOB = [*SMALL, "trust.audit_rate=1", "sync.local_steps=6"]
_FOUR = [*_JOB, "topology.replicas=4", "topology.stages=1"]
_PIPELINES = [*_JOB, "topology.replicas=3", "topology.stages=2", "train.lr=0.02"]
_HOSTILE = "attack._target_=tests.hostile_workers.Hostile"


def run(folder: Path, job: list[str], *overrides: str, seconds: float = 120) -> Result:
    ranks = 5 if job is _FOUR else 7
    result = run_job(folder / "run", ranks, *job, *overrides, seconds=seconds)
    dead = "DiesWhenAsked" in " ".join(overrides)
    assert [status for status in result.statuses if status] == [-9] * dead, result.output
    return result


def hostile(deed: str, node: str) -> list[str]:
    return [_HOSTILE, f"+attack.deed={deed}", f"attack.nodes=[{node}]"]


def assert_clean(result: Result, replicas: int) -> None:
    assert result.summary["banned"] == []
    for line in result.rounds:
        for index in range(replicas):
            found = line["replicas"][str(index)]
            assert (found["verdict"], found["reason"]) == ("honest", ""), found


def assert_convicted(result: Result, nodes: list[str], round_number: int = 1) -> str:
    """These nodes and nobody else, in that round; returns the reason."""
    line = result.rounds[round_number - 1]
    assert result.summary["banned"] == nodes, result.why()
    guilty = nodes[0][1]
    assert line["replicas"][guilty]["nodes"] == nodes, result.why()
    assert int(guilty) not in line["accepted"]
    for index, found in line["replicas"].items():
        assert index == guilty or found["verdict"] == "honest", result.why()
    return line["replicas"][guilty]["reason"]


def assert_margin(reason: str, name: str) -> None:
    """What convicts is far above the limit, in every window in which there was a lie."""
    found = [
        (float(e), float(limit)) for e, limit in re.findall(r": off by (\S+) of the change .*? limit ([^\s;]+)", reason)
    ]
    error, limit = min(found)
    print(f"| {name} | {error:.2g} | {limit:.0e} |")
    assert error > 100 * limit


# Honest rounds


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        pytest.param(["sync.local_steps=1"], marks=_slow),
        pytest.param(["trust.audit_memory=0"], marks=_slow),
        pytest.param(["train=adamw", "train.lr=0.003"], marks=_slow),
        pytest.param(["sync=nesterov"], marks=_slow),
    ],
    ids=" ".join,
)
def test_honest_rounds_are_repeated_bit_for_bit(overrides: list[str], tmp_path: Path) -> None:
    assert_clean(run(tmp_path, _FOUR, "rounds=2", *overrides), 4)


_MODELS = [["topology.schedule=interleaved_1f1b"], ["model._target_=tests.hostile_workers.Dropout", "~model.norm"]]


@_slow
@pytest.mark.parametrize("overrides", _MODELS, ids=" ".join)
def test_honest_pipelines_are_repeated_bit_for_bit(overrides: list[str], tmp_path: Path) -> None:
    assert_clean(run(tmp_path, _PIPELINES, "rounds=2", *overrides), 3)


@_slow
@pytest.mark.timeout(900)
def test_two_hundred_honest_rounds_accuse_nobody(tmp_path: Path) -> None:
    """Eight replicas, thirty rounds: 240 audited rounds of a replica."""
    job = [*_JOB, "topology.replicas=8", "topology.stages=1", "rounds=30"]
    result = run_job(tmp_path / "run", 9, *job, seconds=850)
    assert result.statuses == [0] * 9, result.output
    assert len(result.rounds) == 30
    assert_clean(result, 8)


@_slow
def test_nobody_is_convicted_where_honest_steps_diverge(tmp_path: Path) -> None:
    """Without BatchNorm and with such a learning rate the updates soon are not finite."""
    job = [
        *SMALL,
        "model.norm=false",
        "train.lr=1000",
        "sync.local_steps=6",
        "topology.replicas=4",
        "topology.stages=1",
    ]
    result = run(tmp_path, _FOUR, *job, "trust.audit_rate=0.1", "rounds=2")
    assert result.summary["banned"] == [], result.why()
    assert any(len(line["accepted"]) < 4 for line in result.rounds), "nothing diverged"
    for told in result.why().splitlines():
        assert ": suspicious None: stage 0: the update has values that are not finite" in told


# The laboratory's attacks


@pytest.mark.parametrize(
    "attack",
    [
        ["label_flip"],
        *(
            pytest.param(list(attack), marks=_slow)
            for attack in [
                ("adaptive",), ("alie",), ("backdoor",), ("bias_noise",), ("buffer_poison",), ("collusion",),
                ("copy_aggregate",), ("garbage",), ("garbage", "attack.kind=huge"), ("gaussian",), ("half_work",),
                ("honest_noise",), ("ipm",), ("mean_shift",), ("mimic",), ("min_max",), ("min_sum",),
                ("reversed_mean",), ("scaled",), ("sign_flip",), ("single_layer",), ("zero_gradient",),
                ("zero_update",),
            ]
        ),
    ],
    ids=" ".join,
)  # fmt: skip
def test_attack_is_convicted_in_its_first_round(attack: list[str], tmp_path: Path) -> None:
    name, *others = attack
    result = run(tmp_path, _FOUR, "rounds=1", f"attack={name}", "attack.replicas=[2]", *others)
    reason = assert_convicted(result, ["r2.s0"])
    assert_margin(reason, " ".join(attack))


@_slow
@pytest.mark.parametrize("overrides", [["attack.noise=0"], ["attack.noise=1"]], ids=" ".join)
def test_replay_is_convicted_in_the_first_round_in_which_it_has_something_to_replay(
    overrides: list[str], tmp_path: Path
) -> None:
    result = run(tmp_path, _FOUR, "rounds=2", "attack=replay", "attack.replicas=[2]", *overrides)
    assert result.verdicts(2) == ["honest", "malicious"]
    reason = assert_convicted(result, ["r2.s0"], round_number=2)
    if overrides == ["attack.noise=1"]:  # an exact copy needs no audit
        assert_margin(reason, "replay attack.noise=1")


@_slow
@pytest.mark.parametrize(
    ("attack", "stage"),
    [*product(["honest_noise", "sign_flip", "buffer_poison"], [0, 1]), ("label_flip", 1)],  # the last sees labels
)
def test_single_bad_node_of_a_pipeline_is_named(attack: str, stage: int, tmp_path: Path) -> None:
    result = run(tmp_path, _PIPELINES, "rounds=1", f"attack={attack}", f"attack.nodes=[r2.s{stage}]")
    assert_margin(assert_convicted(result, [f"r2.s{stage}"]), f"{attack} at stage {stage} of 2")


@_slow
@pytest.mark.parametrize("node", ["r2.s0", "r2.s1"])
def test_a_bad_stage_of_an_interleaved_pipeline_is_named(node: str, tmp_path: Path) -> None:
    overrides = ["rounds=1", "topology.schedule=interleaved_1f1b", "attack=sign_flip", f"attack.nodes=[{node}]"]
    assert_convicted(run(tmp_path, _PIPELINES, *overrides), [node])


# Workers of their owners' making


@pytest.mark.parametrize(
    "deed",
    [
        "SkipsOneStep",
        pytest.param("RefusesToOpen", marks=_slow),
        pytest.param("LabelsAtFirst", marks=_slow),
        pytest.param("RandomDigests", marks=_slow),
        pytest.param("ShowsOthers", marks=_slow),
    ],
)
def test_a_worker_of_its_own_making_is_convicted(deed: str, tmp_path: Path) -> None:
    reason = assert_convicted(run(tmp_path, _FOUR, "rounds=1", *hostile(deed, "r2.s0")), ["r2.s0"])
    if deed in ("SkipsOneStep", "LabelsAtFirst"):
        assert_margin(reason, deed)
    if deed == "LabelsAtFirst":
        assert "window 0" in reason
        assert "window 1" not in reason


@_slow
def test_who_fails_before_its_audit_is_audited_all_the_same(tmp_path: Path) -> None:
    """Its replica is lost in the cross-check, but a node needs no neighbour to show its work."""
    overrides = ["rounds=1", "sync.local_steps=null", "trust.budget=1", *hostile("FailsAsValidator", "r2.s0")]
    result = run(tmp_path, _FOUR, *overrides)
    assert_convicted(result, ["r2.s0"])
    assert any("replica 2 lost: r2.s0: RuntimeError: no" in note for note in result.rounds[0]["notes"])


@pytest.mark.parametrize(
    "deed", ["SendsZeros", pytest.param("SwapsSamples", marks=_slow), pytest.param("TampersInFlight", marks=_slow)]
)
def test_what_a_stage_does_to_the_next_is_blamed_on_it(deed: str, tmp_path: Path) -> None:
    assert_convicted(run(tmp_path, _PIPELINES, "rounds=1", *hostile(deed, "r2.s0")), ["r2.s0"])


@_slow
def test_validators_with_false_sketches_move_no_blame(tmp_path: Path) -> None:
    """Replica 0, whose word comes first, covers for stage 1 of replica 2."""
    result = run(tmp_path, _PIPELINES, "rounds=1", _HOSTILE, "+attack.deed=OtherSketches", "attack.nodes=[r0.s0,r0.s1]")
    assert result.summary["banned"] == [], result.why()


@pytest.mark.parametrize("attack", ["lying_validator"])
def test_a_lying_validator_damns_nobody(attack: str, tmp_path: Path) -> None:
    result = run(tmp_path, _FOUR, "rounds=3", f"attack={attack}", "attack.replicas=[1]")
    assert set(result.summary["banned"]) <= {"r1.s0"}, result.why()
    for honest in (0, 2, 3):
        assert set(result.verdicts(honest)) == {"honest"}, result.why()
    assert "malicious" in result.verdicts(1), result.why()


@_slow
def test_two_lying_validators_of_six_damn_nobody(tmp_path: Path) -> None:
    job = [*_JOB, "topology.replicas=6", "topology.stages=1", "rounds=2"]
    result = run_job(tmp_path / "run", 7, *job, "attack=lying_validator", "attack.replicas=[0,3]")
    assert result.statuses == [0] * 7, result.output
    assert set(result.summary["banned"]) <= {"r0.s0", "r3.s0"}, result.why()
    for honest in (1, 2, 4, 5):
        assert set(result.verdicts(honest)) == {"honest"}, result.why()


def test_a_replica_that_is_lost_during_its_audit_loses_the_round(tmp_path: Path) -> None:
    result = run(tmp_path, _FOUR, "rounds=2", "sync.timeout=5", *hostile("DiesWhenAsked", "r2.s0"))
    assert result.rounds[0]["accepted"] == [0, 1, 3], result.why()
    assert result.summary["banned"] == []
    assert result.rounds[1]["accepted"] == [0, 1, 3], result.why()
