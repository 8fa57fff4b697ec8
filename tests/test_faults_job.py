"""One fault at one moment of a round, in one role: a run ends, loses one round of one replica at
most, has learnt, and its ledger and its balances are sound.

`python -m tests.faults_page` runs all cases and writes `docs/results/faults.md`. Elsewhere: full
disks and folders that cannot be written, `test_ledger_places_job.py`; a flipped byte in a
checkpoint, `test_resume_job.py`; what stops every replica, `test_failures_job.py`.
"""

import json
import os
import signal
import time
from pathlib import Path
from statistics import median

import pytest

from tests.jobs import SMALL, Result, finish_job, run_job, start_job
from tests.run_ledgers import assert_balanced, await_entry, verify

pytestmark = pytest.mark.timeout(170)
FOUND = "TDML_FAULTS"  # names the variable with the file for what each case has cost
_ROUNDS, _IN_ROUND, _RANKS = 6, 3, 6
_JOB = [
    *SMALL, "topology.replicas=2", "topology.stages=2", "topology.spares=1", "sync.local_steps=8",
    f"rounds={_ROUNDS}", "sync.timeout=3", "sync.patience=1",
]  # fmt: skip
_LEAST_ACCURACY = 0.6  # 0.1 is chance; without a fault it is 0.9 or more
_STAGES = {"first stage": "r1.s0", "last stage": "r1.s1"}
_LASTING = ("kill", "stop")  # the process does not come back

_QUICK = [
    ("kill", "train", "last stage"), ("kill", "gather", "coordinator"),
]  # fmt: skip
CASES = [
    *((fault, phase, role) for fault in ("kill", "stop", "pause", "exception", "memory")
      for phase in ("load", "train", "commit", "reveal", "evaluate") for role in _STAGES),
    *((fault, phase, "coordinator") for fault in ("kill", "pause")
      for phase in ("broadcast", "train", "gather", "audit", "aggregate", "evaluate", "record")),
    *((fault, "any", "spare") for fault in ("kill", "stop")),
]  # fmt: skip


def _parameters() -> list:
    slow = [case for case in CASES if case not in _QUICK]
    return [*_QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in slow)]


@pytest.mark.parametrize(("fault", "phase", "role"), _parameters())
def test_a_fault_costs_one_replica_one_round_at_most(
    tmp_path: Path, capsys: pytest.CaptureFixture, fault: str, phase: str, role: str
) -> None:
    result = _run(tmp_path, fault, phase, role)
    assert result.rounds[-1]["round"] == _ROUNDS, result.output
    assert [line["round"] for line in result.rounds] == list(range(1, _ROUNDS + 1))
    lost = [line["round"] for line in result.rounds if line["accepted"] != [0, 1]]
    assert len(lost) <= 1, result.why()
    assert result.accuracy > _LEAST_ACCURACY
    assert result.summary["banned"] == []
    assert "Traceback" not in result.output
    verify(result.run, capsys)
    assert_balanced(result.run, capsys, rounds=_ROUNDS)
    seconds = [line["seconds"]["total"] for line in result.rounds]
    cost = round(max(0.0, max(seconds[1:]) - median(seconds[1:])), 1)
    _note({"fault": fault, "phase": phase, "role": role, "lost": len(lost), "cost": cost})


def _note(found: dict) -> None:
    """For `tests.faults_page`."""
    if path := os.environ.get(FOUND):
        with Path(path).open("a") as file:
            file.write(json.dumps(found) + "\n")


def _run(folder: Path, fault: str, phase: str, role: str) -> Result:
    if role == "spare":
        return _disturbed(folder / "run", {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[fault])
    marker = folder / "marker"
    job = [
        *_JOB, "attack._target_=tests.saboteurs_at.FailsAt", f"+attack.fault={fault}",
        f"+attack.phase={phase}", f"+attack.in_round={_IN_ROUND}", f"+attack.marker={marker}",
        f"+attack.node={_STAGES.get(role, role)}", "attack.nodes=[r1.s0]",
    ]  # fmt: skip
    result = _awaited(folder / "run", job, lasting=fault in _LASTING and role != "coordinator")
    assert marker.exists(), "nothing has happened"
    if role == "coordinator" and fault == "kill":
        assert result.statuses[0] == -signal.SIGKILL
        result = run_job(result.run, _RANKS, *job, "resume=true", seconds=150)
    assert result.statuses[0] == 0, result.output
    return result


def _awaited(run: Path, job: list[str], lasting: bool) -> Result:
    """Wait for the coordinator, and for the others but for one that was stopped."""
    processes, log = start_job(run, _RANKS, *job)
    try:
        processes[0].join(150)
        if lasting:
            _end_stopped(processes)
        return finish_job(run, processes, log, seconds=20)
    finally:
        for process in processes:
            process.kill()


def _disturbed(run: Path, number: int) -> Result:
    """The spare gets a signal in the middle of the run."""
    processes, log = start_job(run, _RANKS, *_JOB)
    try:
        await_entry(run, "root", _IN_ROUND - 1, processes)
        os.kill(processes[-1].pid, number)
        processes[0].join(150)
        _end_stopped(processes)
        return finish_job(run, processes, log, seconds=20)
    finally:
        for process in processes:
            process.kill()


def _end_stopped(processes: list) -> None:
    """Kill what is stopped; the others end by themselves."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(process.is_alive() for process in processes):
        for process in processes:
            if process.is_alive() and _state(process.pid) == "T":
                process.kill()
        time.sleep(0.1)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""
