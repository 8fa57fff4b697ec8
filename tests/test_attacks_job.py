"""Attackers in whole jobs on the digits: four replicas of one stage, then of two, judged in every round."""

from pathlib import Path

import pytest

from tdml.training.checkpoint import load_last
from tests.jobs import SMALL, Result, run_job

_slow = pytest.mark.slow
_long = pytest.mark.timeout(400)

# What is tested is the screen and the cross-check: an audit, by chance or of a suspect, would be before them.
_JOB = [*SMALL, "topology.replicas=4", "topology.stages=1", "rounds=6", "trust.audit_rate=0"]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run_job(tmp_path_factory.mktemp("clean") / "run", 5, *_JOB)


def test_six_clean_rounds_accuse_nobody(clean: Result) -> None:
    assert clean.statuses == [0] * 5, clean.output
    assert [clean.verdicts(replica) for replica in range(4)] == [["honest"] * 6] * 4
    assert clean.summary["banned"] == []
    assert clean.accuracy > 0.9


@pytest.mark.parametrize(
    "attack",
    [
        ["attack=gaussian"],
        pytest.param(["attack=zero_gradient"], marks=_slow),
        # Of four replicas, ranks alone are no certain guilt.
        pytest.param(["attack=mean_shift", "trust.audit_rate=0.1"], marks=_slow),
    ],
    ids=" ".join,
)
def test_attacker_is_banned_in_its_first_round_and_does_no_harm(
    attack: list[str], clean: Result, tmp_path: Path
) -> None:
    result = run_job(tmp_path / "run", 5, *_JOB, *attack, "attack.replicas=[2]")
    assert result.statuses == [0] * 5, result.output
    assert result.summary["banned"] == ["r2.s0"]
    assert result.verdicts(2)[0] == "malicious"
    assert 2 not in result.rounds[0]["accepted"]
    for honest in (0, 1, 3):
        assert "malicious" not in result.verdicts(honest)
    assert result.accuracy > clean.accuracy - 0.02


@_slow
def test_what_the_screen_can_only_suspect_does_no_harm_without_audits(clean: Result, tmp_path: Path) -> None:
    """Of four replicas ranks alone convict nobody here; whether the cross-check bears them out depends on its draws."""
    result = run_job(tmp_path / "run", 5, *_JOB, "attack=mean_shift", "attack.replicas=[2]")
    assert result.statuses == [0] * 5, result.output
    assert set(result.summary["banned"]) <= {"r2.s0"}
    assert set(result.verdicts(2)) <= {"suspicious", "malicious", ""}
    for honest in (0, 1, 3):
        assert "malicious" not in result.verdicts(honest)
    assert result.accuracy > clean.accuracy - 0.02


def test_without_trust_the_gaussian_attack_ruins_the_model(tmp_path: Path) -> None:
    result = run_job(
        tmp_path / "run", 5, *_JOB, "attack=gaussian", "attack.replicas=[2]", "trust.enabled=false", "rounds=3"
    )
    assert result.statuses == [0] * 5, result.output
    assert result.summary["banned"] == []
    assert result.accuracy < 0.5


@pytest.mark.parametrize("attack", ["sign_flip", pytest.param("label_flip", marks=pytest.mark.slow)])
def test_quiet_attacker_is_banned_on_alike_shares(attack: str, clean: Result, tmp_path: Path) -> None:
    arguments = ["rounds=8", "trust.budget=1", f"attack={attack}", "attack.replicas=[2]"]
    result = run_job(tmp_path / "run", 5, *_JOB, *arguments)
    assert result.summary["banned"] == ["r2.s0"], result.output
    assert result.accuracy > clean.accuracy - 0.02


def test_attacking_node_is_named_and_a_spare_takes_its_place(tmp_path: Path) -> None:
    result = run_job(
        tmp_path / "run", 8, *SMALL, "topology.replicas=3", "topology.stages=2", "topology.spares=1", "rounds=4",
        "attack=gaussian", "attack.nodes=[r1.s0]", "attack.from_round=2",
    )  # fmt: skip
    assert result.statuses == [0] * 8, result.output
    assert result.verdicts(1) == ["honest", "malicious", "honest", "honest"]
    assert result.rounds[1]["replicas"]["1"]["nodes"] == ["r1.s0"]
    assert result.summary["banned"] == ["r1.s0"]
    assert result.rounds[2]["accepted"] == [0, 1, 2]
    assert "spare0 takes the place of r1.s0" in result.output


# Four replicas of two stages, and a budget that lets everyone be judged in every round

_JOB_4X2 = [*SMALL, "topology.replicas=4", "topology.stages=2", "train.lr=0.1", "trust.budget=1", "trust.audit_rate=0"]
_ROUNDS = "rounds=8"


@pytest.fixture(scope="module")
def clean_4x2(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run_job(tmp_path_factory.mktemp("clean_4x2") / "run", 9, *_JOB_4X2, _ROUNDS, seconds=180)


@_slow
@_long
def test_clean_rounds_in_which_everyone_is_judged_accuse_nobody(clean_4x2: Result) -> None:
    assert clean_4x2.statuses == [0] * 9, clean_4x2.output
    assert [clean_4x2.verdicts(replica) for replica in range(4)] == [["honest"] * 8] * 4, clean_4x2.why()
    assert clean_4x2.accuracy > 0.9


@_long
@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(
            ["zero_update", "trust.audit_rate=0.1"], marks=_slow
        ),  # of so few, the evidence takes 5 to 9 rounds
        pytest.param(["replay"], marks=_slow),
        pytest.param(["replay", "attack.noise=1"], marks=_slow),
        pytest.param(["copy_aggregate"], marks=_slow),
        pytest.param(["copy_aggregate", "attack.noise=1"], marks=_slow),
        pytest.param(["label_flip"], marks=_slow),
        pytest.param(["collusion"], marks=_slow),
    ],
    ids=" ".join,
)
def test_attack_on_work_or_data_is_found_and_does_no_harm(attack: list[str], clean_4x2: Result, tmp_path: Path) -> None:
    result = _attacked(tmp_path, attack, _ROUNDS)
    assert set(result.summary["banned"]) & {"r2.s0", "r2.s1"}, result.why()
    _assert_no_harm(result, clean_4x2)


@_slow
@_long
@pytest.mark.parametrize("attack", [["half_work"], ["backdoor", "attack.share=0.5"]], ids=" ".join)
def test_attack_that_may_stay_hidden_does_no_harm(attack: list[str], clean_4x2: Result, tmp_path: Path) -> None:
    """Half of the work is work, and a backdoor is learned beside the task: both may pass the cross-check."""
    _assert_no_harm(_attacked(tmp_path, attack, _ROUNDS), clean_4x2)


@_slow
@_long
def test_lying_validator_is_named_and_changes_no_verdict(clean_4x2: Result, tmp_path: Path) -> None:
    result = _attacked(tmp_path, ["lying_validator"], _ROUNDS)
    caught = result.verdicts(2).index("malicious")
    assert "contradicts all others" in result.rounds[caught]["replicas"]["2"]["reason"]
    assert set(result.summary["banned"]) <= {"r2.s0", "r2.s1"}
    for honest in (0, 1, 3):
        assert result.verdicts(honest) == clean_4x2.verdicts(honest), result.why()
    _assert_no_harm(result, clean_4x2)


@_slow
@_long
@pytest.mark.parametrize("attack", ["gaussian", "buffer_poison"])
def test_single_bad_node_of_a_pipeline_is_named(attack: str, tmp_path: Path) -> None:
    _assert_named(tmp_path, attack)


@_slow
@_long
@pytest.mark.parametrize(
    ("attack", "node"),
    [
        (["attack=lying_validator"], "r2.s1"),
        (["attack._target_=tests.hostile_workers.Hostile", "+attack.deed=MisleadsValidators"], "r2.s0"),
    ],
    ids=["the last stage", "the first stage"],
)
def test_of_a_lying_validator_the_node_is_banned_that_lied(attack: list[str], node: str, tmp_path: Path) -> None:
    result = run_job(tmp_path / "run", 9, *_JOB_4X2, _ROUNDS, *attack, f"attack.nodes=[{node}]", seconds=180)
    assert result.statuses == [0] * 9, result.output
    assert result.summary["banned"] == [node], result.why()
    caught = result.verdicts(2).index("malicious")
    assert result.rounds[caught]["replicas"]["2"]["nodes"] == [node]
    for honest in (0, 1, 3):
        assert set(result.verdicts(honest)) == {"honest"}, result.why()


@_slow
@_long
@pytest.mark.parametrize("attack", ["alie", "single_layer", "garbage"])
def test_single_bad_node_that_the_screen_can_only_suspect_is_named_by_an_audit(attack: str, tmp_path: Path) -> None:
    _assert_named(tmp_path, attack, "trust.audit_rate=0.1")


def _assert_named(tmp_path: Path, attack: str, *overrides: str) -> None:
    arguments = ["rounds=2", f"attack={attack}", "attack.nodes=[r2.s1]", *overrides]
    result = run_job(tmp_path / "run", 9, *_JOB_4X2, *arguments, seconds=180)
    assert result.statuses == [0] * 9, result.output
    assert result.summary["banned"] == ["r2.s1"], result.why()
    for honest in (0, 1, 3):
        assert "malicious" not in result.verdicts(honest), result.why()


def test_without_a_budget_nobody_is_judged_unless_suspected(tmp_path: Path) -> None:
    """A liar who is never asked cannot be caught; one who hands in a copy is suspected, and heard at any cost."""
    liar = run_job(
        tmp_path / "liar", 5, *_JOB, "trust.budget=0", "rounds=3", "attack=lying_validator", "attack.replicas=[2]"
    )
    assert liar.statuses == [0] * 5, liar.output
    assert [liar.verdicts(replica) for replica in range(4)] == [["honest"] * 3] * 4, liar.why()
    assert set(_evidence(liar).values()) == {0.0}
    copier = run_job(tmp_path / "copier", 5, *_JOB, "trust.budget=0", "rounds=1", "attack=mimic", "attack.replicas=[2]")
    assert copier.statuses == [0] * 5, copier.output
    assert copier.verdicts(2) in (["malicious"], ["suspicious"]), copier.why()  # of so few samples little follows
    assert all(copier.verdicts(replica) != ["malicious"] for replica in (0, 1, 3)), copier.why()
    assert "own advantage" in copier.rounds[0]["replicas"]["2"]["reason"]
    spared = min(line["seconds"]["cross_check"] for line in liar.rounds)
    assert copier.rounds[0]["seconds"]["cross_check"] > 3 * spared


def _attacked(folder: Path, attack: list[str], *overrides: str) -> Result:
    """A job of 4 x 2 nodes in which the third replica attacks."""
    name, *others = attack
    arguments = [f"attack={name}", "attack.replicas=[2]", *others, *overrides]
    return run_job(folder / "run", 9, *_JOB_4X2, *arguments, seconds=180)


def _assert_no_harm(result: Result, clean: Result) -> None:
    """No crash, nobody honest is accused, and the model is as good as without the attack."""
    assert result.statuses == [0] * 9, result.output
    assert set(result.summary["banned"]) <= {"r2.s0", "r2.s1"}, result.why()
    for honest in (0, 1, 3):
        assert "malicious" not in result.verdicts(honest), result.why()
    assert result.accuracy > clean.accuracy - 0.02


def _evidence(result: Result) -> dict[str, float]:
    """What the last checkpoint says against each replica, by the names of its nodes."""
    checkpoint = load_last(result.run / "checkpoints")
    assert checkpoint is not None
    return checkpoint.court["evidence"]
