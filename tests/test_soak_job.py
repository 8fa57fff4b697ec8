"""Long runs with many faults: nothing grows in any rank, round after round."""

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.jobs import SMALL, descendants
from tests.run_ledgers import verify
from tests.test_sessions_job import Job, job  # noqa: F401 - a fixture

_SETTINGS = [
    *SMALL, "topology.replicas=3", "topology.stages=1", "topology.microbatches=1",
    "sync.local_steps=2", "rounds=4000", "attack._target_=tests.saboteurs_at.FailsOften",
    "attack.nodes=[r1.s0]", "+attack.every=3", "+attack.names=[r1.s0,r2.s0]",
]  # fmt: skip
_WARM_ROUNDS = 15  # caches are filled, libraries are loaded
_MOST_MEMORY = 1.15  # times what it was then
_MOST_MORE = {"files": 8, "threads": 8, "processes": 1}


@dataclass(frozen=True)
class Use:
    """What a process holds."""

    memory: int  # KiB that are its own
    files: int
    threads: int
    processes: int

    @classmethod
    def of(cls, pid: int) -> "Use":
        """Of a process that lives."""
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        return cls(
            int(status["RssAnon"].split()[0]), len(os.listdir(f"/proc/{pid}/fd")),
            int(status["Threads"]), len(descendants(pid)),
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rounds", [40, 200])
def test_faults_in_every_third_round_leave_nothing_behind(
    job: Job,  # noqa: F811 - the fixture
    capsys: pytest.CaptureFixture, rounds: int,
) -> None:  # fmt: skip
    job.start(4, *_SETTINGS)
    pids = {rank: process.pid for rank, process in enumerate(job.ranks)}
    visitor = None
    before: Mapping[int, Use] = {}
    job.wait(lambda: len(job.rounds) >= 1)
    while len(job.rounds) < rounds:
        assert job.ranks[0].is_alive(), job.output
        if not before and len(job.rounds) >= _WARM_ROUNDS and "spare0 has joined" in job.output:
            before = {rank: Use.of(pid) for rank, pid in pids.items()}
        visitor = _come_and_go(job, visitor)
        time.sleep(0.1)
    after = {rank: Use.of(pid) for rank, pid in pids.items()}
    if visitor is not None:
        visitor.kill()
    job.stop()
    with capsys.disabled():  # what was seen
        for rank in pids:
            print(f"\nrank {rank}: {before[rank]} → {after[rank]}")
    for rank in pids:
        _assert_no_growth(rank, before[rank], after[rank])
    assert "planted failure" in job.output
    verify(job.run, capsys)


def _come_and_go(job: Job, visitor: subprocess.Popen | None) -> subprocess.Popen:  # noqa: F811
    """A further node that joins, dies, and comes back: every time there is another session."""
    if visitor is None or visitor.poll() is not None:
        return job.join("theirs", *_SETTINGS)
    said = job.output.count("spare0 has joined") + job.output.count("spare0 is back")
    if said >= len(job.joined):
        visitor.kill()
    return visitor


def _assert_no_growth(rank: int, before: Use, after: Use) -> None:
    assert after.memory < _MOST_MEMORY * before.memory, (rank, before, after)
    for name, more in _MOST_MORE.items():
        assert getattr(after, name) <= getattr(before, name) + more, (rank, name, before, after)
