"""Attackers in whole jobs on the digits, with the default budget."""

from pathlib import Path

import pytest

from tdml import cli
from tdml.rewards.accounts import valid_entries
from tdml.round.checkpoint import load_last
from tests.jobs import SMALL, Result, run_job
from tests.run_ledgers import entries

_slow = pytest.mark.slow
_JOB = [*SMALL, "topology.replicas=4", "topology.stages=1", "rounds=6"]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run_job(tmp_path_factory.mktemp("clean") / "run", 5, *_JOB)


def test_six_clean_rounds_accuse_nobody_and_keep_to_the_budget(clean: Result) -> None:
    assert clean.statuses == [0] * 5, clean.output
    assert [clean.verdicts(replica) for replica in range(4)] == [["honest"] * 6] * 4, clean.why()
    assert clean.summary["banned"] == []
    assert clean.accuracy > 0.9
    steps = sum(line["spent"] for line in clean.rounds)
    assert 0 < steps <= 0.15 * 6 * 4 * 13  # of so few windows chance takes some more


@pytest.mark.parametrize(
    "attack",
    [
        ["attack=gaussian"],
        *(
            pytest.param([f"attack={name}"], marks=_slow)
            for name in ("zero_gradient", "mean_shift", "sign_flip", "mimic")
        ),
    ],
    ids=" ".join,
)
def test_a_loud_attacker_is_banned_in_its_first_round_and_all_it_put_in_is_taken_out_again(
    attack: list[str], clean: Result, tmp_path: Path
) -> None:
    result = run_job(
        tmp_path / "run", 5, *_JOB, *attack, "attack.replicas=[2]", "attack.from_round=2"
    )
    assert result.statuses == [0] * 5, result.output
    assert result.summary["banned"] == ["r2.s0"]
    second = result.all_rounds[1]
    assert second["replicas"]["2"]["verdict"] == "malicious"
    assert 2 not in second["accepted"]
    assert all("2" not in line["replicas"] for line in result.rounds), (
        "the run has begun again without it"
    )
    assert [line["round"] for line in result.all_rounds] == [1, 2, 1, 2, 3, 4, 5, 6]
    assert [bool(line.get("void")) for line in result.all_rounds] == [True] * 2 + [False] * 6
    assert result.summary["void_rounds"] == 2
    kept = load_last(result.run / "checkpoints")
    assert kept.round == 6 and kept.fleet["banned"] == ["r2.s0"]
    assert "so the run goes on from the weights after round 0" in result.output
    for honest in (0, 1, 3):
        assert "malicious" not in result.verdicts(honest)
    assert result.accuracy > clean.accuracy - 0.02


@_slow
def test_without_trust_the_gaussian_attack_ruins_the_model(tmp_path: Path) -> None:
    result = run_job(
        tmp_path / "run", 5, *_JOB, "attack=gaussian", "attack.replicas=[2]", "trust.enabled=false"
    )
    assert result.statuses == [0] * 5, result.output
    assert result.summary["banned"] == []
    assert result.accuracy < 0.5


def test_attacking_node_is_named_and_a_spare_takes_its_place(tmp_path: Path) -> None:
    job = [
        *SMALL,
        "topology.replicas=3",
        "topology.stages=2",
        "topology.spares=1",
        "rounds=3",
        "sync.local_steps=6",
        "trust.rollback=off",
    ]
    result = run_job(
        tmp_path / "run", 8, *job, "attack=sign_flip", "attack.nodes=[r1.s1]", "attack.from_round=2"
    )
    assert result.statuses == [0] * 8, result.output
    assert result.summary["banned"] == ["r1.s1"], result.why()
    assert result.verdicts(1) == ["honest", "malicious", "honest"], result.why()
    assert any("spare0 takes the place of r1.s1" in note for note in result.rounds[2]["notes"])
    assert "round 1 may hold more of it, which stays" in " ".join(result.summary["notices"]), (
        "what it put in before stays, and that is said"
    )


@pytest.mark.parametrize(
    ("saboteur", "ranks", "void"),
    [
        pytest.param("DiesGoingBack", 4, 3, marks=pytest.mark.slow),
        # nothing but the ban list knows of the ban, and it keeps the liar out
        ("DiesOfABan", 5, 2),
        pytest.param("DiesAfterABan", 5, 2, marks=pytest.mark.slow),
        pytest.param("DiesRollingBack", 5, 3, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_killed_before_it_goes_back_does_so_when_it_goes_on(
    saboteur: str, ranks: int, void: int, tmp_path: Path
) -> None:
    job = [
        *SMALL, "topology.replicas=4", "topology.stages=1", "rounds=4", "sync.local_steps=6",
        f"attack._target_=tests.saboteurs_at.{saboteur}", "+attack.std=30", "attack.replicas=[3]",
        "attack.from_round=3", f"+attack.marker={tmp_path / 'killed'}", "sync.patience=1",
        f"identity.folder={tmp_path / 'keys'}",
    ]  # fmt: skip
    if saboteur == "DiesOfABan":
        job.append(f"identity.ban_list={tmp_path / 'bans.yaml'}")
    killed = run_job(tmp_path / "run", 5, *job)
    assert (tmp_path / "killed").exists() and 0 not in killed.statuses, killed.output
    result = run_job(tmp_path / "run", ranks, *job, "resume=true")
    assert result.statuses == [0] * ranks, result.output
    [back] = entries(result.run, "rollback")
    assert "so the run goes on from the weights after round 0" in back.body["reason"]
    rounds = [*range(1, void + 1), 1, 2, 3, 4]
    assert [line["round"] for line in result.all_rounds] == rounds
    assert result.summary["void_rounds"] == void
    assert result.summary["banned"] == ["r3.s0"]
    kept = valid_entries((entry.round, entry.kind, entry.body) for entry in entries(result.run))
    closed = [number for number, kind, _ in kept if kind == "root"]
    assert closed == [0, *rounds, 5], "who has worked in the rounds that come again is paid"
    assert cli.run(["ledger", "verify", str(result.run)]) == 0
