"""What whole jobs pay: under every policy, with and without attackers, and with settings at their
edges."""

import sys
from pathlib import Path

import pytest

from tests.jobs import SMALL, run_command, run_job
from tests.run_ledgers import (
    STAKE,
    assert_balanced,
    assert_liar_pays,
    entries,
    rewards,
    tdml,
    verify,
)

_JOB = [*SMALL, "sync.local_steps=3", "rounds=3", f"rewards.stake={STAKE}"]
_ATTACKED = ["topology.replicas=3", "attack=gaussian", "attack.from_round=2"]
_PIPELINES = [*_ATTACKED, "topology.stages=2", "topology.spares=1", "attack.nodes=[r1.s0]"]
_REPLICAS = [*_ATTACKED, "topology.stages=1", "attack.nodes=[r1.s0]"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "topology"),
    [("improvement", _PIPELINES), ("improvement", _REPLICAS), ("equal", _PIPELINES)],
)
def test_liar_pays_under_every_policy(
    policy: str, topology: list[str], tmp_path: Path, capsys
) -> None:
    ranks = 8 if topology is _PIPELINES else 4
    result = run_job(
        tmp_path / "run", ranks, *_JOB, *topology, f"rewards.policy={policy}", "trust.budget=1"
    )
    assert result.statuses == [0] * ranks, result.output
    assert_liar_pays(result, capsys)


@pytest.mark.slow
def test_improvement_is_measured_and_bans_nobody(tmp_path: Path, capsys) -> None:
    job = [
        *_JOB,
        "topology.replicas=3",
        "topology.stages=1",
        "sync.local_steps=8",
        "trust.budget=1",
        "rounds=3",
    ]
    result = run_job(tmp_path / "run", 4, *job, "rewards.policy=improvement")
    assert result.summary["banned"] == [], result.output
    worth = [entry.body["improvement"] for entry in entries(result.run, "verdict")]
    assert len(worth) == 9 and all(worth)
    verify(result.run, capsys)
    assert_balanced(result.run, capsys, rounds=3)


_QUIET = [*SMALL, "topology.stages=1", "sync.local_steps=2", "rounds=2"]


@pytest.mark.parametrize(
    ("replicas", "overrides", "expected"),
    [
        pytest.param(
            3, ["rewards.stake=0"], "rewards.stake=0 does not outweigh", marks=pytest.mark.slow
        ),
        pytest.param(3, ["rewards.pool=0"], "", marks=pytest.mark.slow),
        pytest.param(
            3, ["trust.budget=0"], "trust.budget=0: nothing is audited", marks=pytest.mark.slow
        ),
        pytest.param(
            3, ["trust.enabled=false"], "trust.enabled=false: every update", marks=pytest.mark.slow
        ),
        pytest.param(2, [], "", marks=pytest.mark.slow),
        pytest.param(2, ["rewards.policy=improvement"], "", marks=pytest.mark.slow),
        pytest.param(3, ["rewards.policy=verified", "trust.budget=1"], "", marks=pytest.mark.slow),
        pytest.param(1, ["rewards.policy=improvement"], "1 replica", marks=pytest.mark.slow),
        pytest.param(
            3,
            ["data.partition=dirichlet", "data.alpha=0.5", "sync.local_steps=null"],
            "",
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)
def test_every_way_to_run_leaves_a_sound_ledger(
    replicas: int, overrides: list[str], expected: str, tmp_path: Path, capsys
) -> None:
    job = [*_QUIET, f"topology.replicas={replicas}", *overrides]
    result = run_job(tmp_path / "run", 1 + replicas, *job)
    assert result.statuses == [0] * (1 + replicas), result.output
    assert "Traceback" not in result.output
    assert expected in result.output
    assert "2 rounds, model.pt is the model of the last" in verify(result.run, capsys)
    assert_balanced(result.run, capsys, rounds=2)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("rewards.pool=9007199254740993", "rewards.pool=9007199254740993 × rounds=2 exceeds"),
        pytest.param(
            "rewards.stake=9007199254740993",
            "rewards.stake=9007199254740993 exceeds",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "ledger.artifacts=file:///dev/null/store",
            "ledger.artifacts=file:///dev/null/store cannot be used",
            marks=pytest.mark.slow,
        ),
        ("ledger.artifacts=nothing://store", "ledger.artifacts=nothing://store cannot be used"),
    ],
)
def test_setting_that_cannot_work_is_named_before_any_training(
    override: str, expected: str, tmp_path: Path
) -> None:
    result = run_job(tmp_path / "run", 2, *_QUIET, "topology.replicas=1", override)
    assert result.statuses == [1, 1]
    [line] = result.output.splitlines()
    assert line.startswith(f"tdml: {expected}")
    assert result.rounds == []


def test_one_replica_earns_all_and_the_table_says_the_same_as_json(tmp_path: Path, capsys) -> None:
    result = run_job(tmp_path / "run", 2, *_QUIET, "topology.replicas=1")
    assert result.statuses == [0, 0], result.output
    assert "1 replica: nobody can repeat its work but the coordinator" in result.output
    assert "2 rounds, model.pt is the model of the last" in verify(result.run, capsys)
    assert_balanced(result.run, capsys, rounds=2)
    lines, totals = rewards(result.run, capsys)
    assert lines["r0.s0"]["earned"] == totals["pool_in"]
    status, text = tdml(capsys, "rewards", result.run)
    assert status == 0
    assert f"{lines['r0.s0']['earned']:,}" in text and f"pools {totals['pool_in']:,}" in text
    piped = (
        f"{sys.executable} -m tdml.cli rewards {result.run} | head -n 0; echo ${{PIPESTATUS[0]}}"
    )
    done = run_command("bash", "-c", piped)
    assert done.stdout == "0\n", "it ends quietly when nobody reads on"
