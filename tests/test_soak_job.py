"""Long runs with many faults: nothing grows in any rank, round after round."""

import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import linear_regression

import pytest

from tests.jobs import SMALL
from tests.run_ledgers import verify
from tests.test_sessions_job import Job, job  # noqa: F401 - a fixture

_ROUNDS, _LOOK = 200, 5  # at least; and how many of them are from one look to the next
_RETURNS = 20  # of a node that joins, dies and comes back, at least
_SETTINGS = [
    *SMALL, "topology.replicas=3", "topology.stages=1", "topology.microbatches=1",
    "sync.local_steps=2", "rounds=4000", "attack._target_=tests.saboteurs_at.FailsOften",
    "attack.nodes=[r1.s0]", "+attack.every=3", "+attack.names=[r1.s0,r2.s0]",
    f"+attack.look={_LOOK}",
]  # fmt: skip
_WARM_ROUNDS = 50  # caches are filled, libraries are loaded
# KiB a round, by rank: of the coordinator's, SQLite's cache takes 7, until it holds 2 MiB
_MOST_MEMORY = [30, 10, 10, 10]
_MOST_MORE = {"files": 2, "threads": 2, "processes": 0}  # than ever while it got warm


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_faults_in_every_third_round_leave_nothing_behind(
    job: Job,  # noqa: F811 - the fixture
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    settings = [*_SETTINGS, f"+attack.folder={tmp_path}"]
    job.start(len(_MOST_MEMORY), *settings)
    visitor = None
    job.wait(lambda: len(job.rounds) >= 1)
    while len(job.rounds) < _ROUNDS or job.output.count("spare0 is back") < _RETURNS:
        assert job.ranks[0].is_alive(), job.output
        visitor = _come_and_go(job, visitor, settings)
        time.sleep(0.1)
    if visitor is not None:
        visitor.kill()
    job.stop()
    for rank in range(len(_MOST_MEMORY)):
        lines = (tmp_path / f"{rank}.jsonl").read_text().splitlines()
        _assert_no_growth(rank, [json.loads(line) for line in lines], capsys)
    assert "planted failure" in job.output
    verify(job.run, capsys)


def _come_and_go(
    job: Job,  # noqa: F811
    visitor: subprocess.Popen | None,
    settings: Sequence[str],
) -> subprocess.Popen:
    """A further node that joins, dies, and comes back: every time there is another session."""
    if visitor is None or visitor.poll() is not None:
        return job.join("theirs", *settings)
    said = job.output.count("spare0 has joined") + job.output.count("spare0 is back")
    if said >= len(job.joined):
        visitor.kill()
    return visitor


def _assert_no_growth(rank: int, uses: Sequence[dict], capsys: pytest.CaptureFixture) -> None:
    """`uses` are what a rank held, by round."""
    cold = [use for use in uses if use["round"] <= _WARM_ROUNDS]
    warm = [use for use in uses if use["round"] >= _WARM_ROUNDS]
    memory = linear_regression([u["round"] for u in warm], [u["memory"] for u in warm]).slope
    with capsys.disabled():  # what was seen
        print(f"\nrank {rank}: {memory:.1f} KiB a round; {cold[0]} → {warm[0]} → {warm[-1]}")
    assert memory < _MOST_MEMORY[rank], (rank, warm)
    for name, more in _MOST_MORE.items():
        before, after = (max(use[name] for use in part) for part in (cold, warm))
        assert after <= before + more, (rank, name, uses)
