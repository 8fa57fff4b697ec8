"""Replicas that are late: at the deadline they lose the round; who is late again and again goes."""

from pathlib import Path

import pytest

from tests.jobs import SMALL, run_job


@pytest.mark.slow
def test_slow_replica_loses_the_round_at_the_deadline(tmp_path: Path) -> None:
    result = run_job(
        tmp_path / "run",
        7,
        *SMALL,
        "topology.replicas=3",
        "topology.stages=2",
        "sync.local_steps=3",
        "rounds=3",
        "attack._target_=tests.plugins.Dawdles",
        "+attack.in_round=2",
        "attack.nodes=[r0.s1]",
        "sync.deadline=6",
        "sync.timeout=60",
    )
    assert result.statuses == [0] * 7, result.output
    assert result.verdicts(0) == ["honest", "lost", "honest"]
    assert "late" in " ".join(result.rounds[1]["notes"])
    assert result.rounds[1]["seconds"]["train"] < 30


@pytest.mark.slow
def test_who_is_late_twice_in_a_row_takes_no_more_part(tmp_path: Path) -> None:
    result = run_job(
        tmp_path / "run",
        4,
        *SMALL,
        "topology.replicas=3",
        "topology.stages=1",
        "sync.local_steps=2",
        "rounds=5",
        "attack._target_=tests.plugins.Slow",
        "attack.nodes=[r1.s0]",
        "sync.deadline=6",
        "sync.timeout=60",
        seconds=120,
    )
    assert result.statuses[0] == 0, result.output
    assert result.verdicts(1) == ["honest", "lost", "lost", "", ""]
    assert "r1.s0 given up: late twice in a row" in result.output
    assert result.summary["banned"] == []
    assert [line["accepted"] for line in result.rounds][3:] == [[0, 2], [0, 2]]


@pytest.mark.slow
def test_who_is_late_once_takes_fewer_steps_and_stays(tmp_path: Path) -> None:
    result = run_job(
        tmp_path / "run",
        4,
        *SMALL,
        "topology.replicas=3",
        "topology.stages=1",
        "sync.local_steps=8",
        "rounds=4",
        "attack._target_=tests.plugins.Sluggish",
        "+attack.seconds=2.5",
        "attack.nodes=[r1.s0]",
        "sync.deadline=12",
        "sync.timeout=60",
        "sync.balance=true",
        seconds=150,
    )
    assert result.statuses == [0] * 4, result.output
    assert result.verdicts(1) == ["lost", "honest", "honest", "honest"], result.why()
    assert all(line["replicas"]["1"]["steps"] < 4 for line in result.rounds[1:])
    assert "given up" not in result.output
