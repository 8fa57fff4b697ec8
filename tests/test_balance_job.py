"""A job with a slow machine and sync.balance=true: nobody waits for it, and nobody accuses it."""

import statistics
from pathlib import Path

import pytest

from tests.jobs import SMALL, Result, run_job
from tests.run_ledgers import assert_balanced, entries, verify

_SLOW = 3  # the replica whose machine takes half a second for a step, the others some milliseconds
_JOB = [
    *SMALL, "topology.replicas=4", "topology.stages=1", "sync.local_steps=4", "sync.balance=true",
    "trust.budget=1", "attack._target_=tests.plugins.Sluggish", "+attack.seconds=0.5",
    f"attack.nodes=[r{_SLOW}.s0]",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_slow_replica_takes_fewer_steps_and_is_paid_for_them(tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    job = [*_JOB, f"identity.folder={tmp_path / 'keys'}"]
    result = run_job(run, 5, *job, "rounds=6", seconds=120)
    assert result.statuses == [0] * 5, result.output
    assert _steps(result)[:3] == [4, 4, 4]
    assert all(1 <= steps <= 2 for steps in _steps(result)[3:]), result.output
    assert f"replica {_SLOW} is slow: from now on it takes " in result.output
    seconds = [line["seconds"]["train"] for line in result.rounds]
    assert statistics.median(seconds[3:]) < 0.75 * statistics.median(seconds[:3]), seconds

    resumed = run_job(run, 5, *job, "rounds=8", "resume=true", seconds=120)
    assert resumed.statuses == [0] * 5, resumed.output
    assert all(1 <= steps <= 2 for steps in _steps(resumed)[6:]), "it is known from the first round"
    _assert_nobody_is_accused(resumed)
    _assert_all_of_it_is_recorded(resumed)
    verify(run, capsys)
    assert_balanced(run, capsys, rounds=8)


def _steps(result: Result) -> list[int]:
    return [line["replicas"][f"{_SLOW}"]["steps"] for line in result.rounds]


def _assert_nobody_is_accused(result: Result) -> None:
    """All work is repeated, and found to be what was handed in."""
    assert not result.summary["banned"] and not result.why(), result.why()
    assert all(line["accepted"] == [0, 1, 2, 3] for line in result.rounds)
    audits = entries(result.run, "audit")
    assert len(audits) == 8 * 4
    assert {entry.body["outcome"] for entry in audits} == {"clean"}


def _assert_all_of_it_is_recorded(result: Result) -> None:
    """The steps before the work, and the samples that are paid."""
    ordered = [entry.body.get("steps", {}) for entry in entries(result.run, "round")]
    taken = [line["replicas"] for line in result.rounds]
    for fewer, replicas in zip(ordered, taken, strict=True):
        assert {int(i): found["steps"] for i, found in replicas.items()} == {
            i: fewer.get(f"{i}", 4) for i in range(4)
        }
    for entry in entries(result.run, "verdict"):
        line = taken[entry.round - 1][f"{entry.body['replica']}"]
        assert entry.body["samples"] == 32 * line["steps"]
