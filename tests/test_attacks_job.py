"""Attackers in whole jobs: four replicas of one stage each on the digits."""

from pathlib import Path

import pytest

from tests.jobs import SMALL, Result, run_job

_JOB = [*SMALL, "topology.replicas=4", "topology.stages=1", "rounds=6"]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run_job(tmp_path_factory.mktemp("clean") / "run", 5, *_JOB)


def test_six_clean_rounds_accuse_nobody(clean: Result) -> None:
    assert clean.statuses == [0] * 5, clean.output
    assert [clean.verdicts(replica) for replica in range(4)] == [["honest"] * 6] * 4
    assert clean.summary["banned"] == []
    assert clean.accuracy > 0.9


@pytest.mark.parametrize("attack", ["gaussian", "zero_gradient", "mean_shift"])
def test_attacker_is_banned_and_does_no_harm(attack: str, clean: Result, tmp_path: Path) -> None:
    result = run_job(tmp_path / "run", 5, *_JOB, f"attack={attack}", "attack.replicas=[2]")
    assert result.statuses == [0] * 5, result.output
    assert result.summary["banned"] == ["r2.s0"]
    assert result.verdicts(2)[0] == "malicious"
    assert 2 not in result.rounds[0]["accepted"]
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


@pytest.mark.parametrize("attack", ["sign_flip", "label_flip"])
def test_quiet_attacker_is_banned_on_alike_shares(attack: str, clean: Result, tmp_path: Path) -> None:
    result = run_job(tmp_path / "run", 5, *_JOB, "rounds=8", f"attack={attack}", "attack.replicas=[2]")
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
