"""Optimizers that go on from round to round, where a node dies and where the run does."""

import signal
from pathlib import Path

import pytest

from tests.jobs import SMALL, run_job
from tests.run_ledgers import entries, verify
from tests.test_failures_job import disturb

_JOB = [
    *SMALL, "topology.replicas=3", "topology.stages=2", "topology.spares=1", "sync.local_steps=3",
    "train=adamw", "train.lr=0.003", "sync.inner_state=kept", "trust.budget=1",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_all_work_is_repeated_whoever_begins_anew(tmp_path: Path, capsys) -> None:
    """The spare does, and its neighbour goes on from where it was; everybody does when the run is
    resumed."""
    run = tmp_path / "run"
    first = disturb(run, 8, [*_JOB, "rounds=5"], rank=3, signum=signal.SIGKILL)
    assert "spare0 takes the place of r1.s0 (dead)" in first.output
    assert "begin anew" not in first.output
    second = run_job(run, 8, *_JOB, "rounds=7", "resume=true")
    assert second.statuses == [0] * 8, second.output
    assert "sync.inner_state=kept: inner optimizers begin anew" in second.output
    assert second.summary["banned"] == []
    assert [line["round"] for line in second.rounds] == list(range(1, 8))
    assert second.rounds[-1]["accepted"] == [0, 1, 2]
    audits = [entry.body for entry in entries(run, "audit")]
    assert {(audit["outcome"], audit["reason"]) for audit in audits} == {("clean", "")}
    assert "7 rounds" in verify(run, capsys)
