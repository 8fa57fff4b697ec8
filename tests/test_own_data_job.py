"""Jobs whose replicas' data stay with their owners."""

import sqlite3
from pathlib import Path

import pytest

from tdml import cli
from tests.jobs import SMALL, run_job

_UNCHECKED = "not checked: the data stays with its owner"
_JOB = [
    *SMALL, "data._target_=tests.plugins.owned", "data.partition=own", "topology.replicas=2",
    "topology.stages=2", "sync.local_steps=12",
]  # fmt: skip


def test_replicas_learn_from_what_each_of_them_alone_holds_and_go_on(tmp_path: Path) -> None:
    """One has the even digits, the other fewer odd ones; the coordinator judges by its own of both
    kinds, and every word on an update says that it was not checked. A run that goes on takes what
    the owners hold then."""
    lost = tmp_path / "lost"
    job = [*_JOB, "trust.budget=1", "monitor.best=true", f"+data.lost={lost}"]
    first = run_job(tmp_path / "run", 5, *job, "rounds=3")
    assert first.statuses == [0] * 5, first.output
    before = first.rounds
    lost.touch()
    result = run_job(tmp_path / "run", 5, *job, "rounds=6", "resume=true")
    assert result.statuses == [0] * 5, result.output
    assert [line["round"] for line in result.rounds] == [1, 2, 3, 4, 5, 6]
    assert result.rounds[:3] == before
    assert result.accuracy > 0.6, result.output  # one kind alone is half of them
    for line in result.rounds:
        assert line["spent"] == 0
        for found in line["replicas"].values():
            assert found["verdict"] in ("honest", "suspicious")
            assert found["reason"].endswith(_UNCHECKED)
    told = " ".join(result.output.split())
    assert f"data.partition=own: {_UNCHECKED}" in told
    assert "a further node" not in told
    assert "no update counts more than 1.5 times the median" in told
    assert _UNCHECKED in (result.run / "report.html").read_text()
    assert cli.run(["ledger", "verify", str(result.run)]) == 0
    database = sqlite3.connect(result.run / "ledger.db")
    assert _UNCHECKED in str(database.execute("select * from entries").fetchall())


@pytest.mark.parametrize(
    ("strange", "told"),
    [
        (
            "order of 2",
            "data: the training labels of r0.s0 and r0.s1 differ: with data.partition=own the first "
            "and the last stage of a replica must hold the same samples, in the same order",
        ),
        pytest.param(
            "few of 3",
            "data: the 10 training samples of r1.s0 are too few for an optimizer step on",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "size of 4",
            "data: a sample of r1.s1 is a tensor (3, 8, 8) of torch.float32, one of rank 0",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_owners_hold_is_looked_at_before_the_start(
    strange: str, told: str, tmp_path: Path
) -> None:
    result = run_job(tmp_path / "run", 5, *_JOB, f"+data.strange={strange}", "rounds=1")
    assert set(result.statuses) == {1}, result.output
    assert told in result.output and "Traceback" not in result.output
