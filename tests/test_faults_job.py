"""One fault at one moment of a round, in one role: a run ends, loses one round of one replica at
most, has learnt, and its ledger and its balances are sound.

`python -m tests.faults_page` runs all cases and writes `docs/results/faults.md`. Elsewhere: full
disks and folders that cannot be written, `test_ledger_places_job.py`; a flipped byte in a
checkpoint, `test_resume_job.py`; what stops every replica, `test_failures_job.py`.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.hosts import Hosts
from tests.jobs import SMALL, Result, finish_job, run_job, start_job
from tests.run_ledgers import assert_balanced, await_entry, verify
from tests.saboteurs_at import pause

pytestmark = pytest.mark.timeout(340)  # two jobs, of which each has half
FOUND = "TDML_FAULTS"  # names the variable with the file for what each case has cost
_ROUNDS, _IN_ROUND, _RANKS = 6, 3, 6
_JOB = [
    *SMALL, "topology.replicas=2", "topology.stages=2", "topology.spares=1", "sync.local_steps=8",
    f"rounds={_ROUNDS}", "sync.timeout=3", "sync.patience=1",
]  # fmt: skip
_LEAST_ACCURACY = 0.6  # 0.1 is chance; without a fault it is 0.9 or more
_RANK = {"coordinator": 0, "first stage": 3, "last stage": 4, "spare": 5}
_STAGES = {"first stage": "r1.s0", "last stage": "r1.s1"}
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
# which ways a host is cut off, and for how many seconds
_CUTS = {
    "cut": (("in", "out"), None), "cut for 10 s": (("in", "out"), 10),
    "cut in": (("in",), None), "cut in for 10 s": (("in",), 10),
    "cut out": (("out",), None), "cut out for 10 s": (("out",), 10),
}  # fmt: skip
# the process does not come back
_LASTING = ("kill", "stop", *(name for name, (_, seconds) in _CUTS.items() if seconds is None))

_QUICK = [
    ("kill", "train", "last stage"), ("kill", "gather", "coordinator"),
]  # fmt: skip
CASES = [
    *((fault, phase, role) for fault in ("kill", "stop", "pause", "exception", "memory")
      for phase in ("load", "train", "commit", "reveal", "evaluate") for role in _STAGES),
    *((fault, phase, "coordinator") for fault in ("kill", "pause")
      for phase in ("broadcast", "train", "gather", "audit", "aggregate", "evaluate", "record")),
    *((fault, phase, "coordinator")
      for fault in ("stop", "memory", "exception") for phase in ("train", "record")),
    *((fault, "any", "spare") for fault in ("kill", "stop", "pause")),
    *((fault, "train", "last stage") for fault in _CUTS),
    *((fault, "commit", "first stage") for fault in ("cut", "cut for 10 s")),
    *((fault, "train", "coordinator")
      for fault in ("cut", "cut for 10 s", "cut in for 10 s", "cut out for 10 s")),
    *((fault, "any", "spare") for fault in ("cut", "cut for 10 s")),
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
    assert len(lost) <= 1, result.output
    assert result.accuracy > _LEAST_ACCURACY
    assert result.summary["banned"] == []
    # where a mistake of ours is
    assert ("Traceback" in result.output) == ((fault, role) == ("exception", "coordinator"))
    verify(result.run, capsys)
    paid = sum(bool(line["accepted"]) for line in result.rounds)
    assert_balanced(result.run, capsys, rounds=paid)
    seconds = [line["seconds"]["total"] for line in result.rounds]
    cost = round(max(0.0, max(seconds[1:]) - median(seconds[1:])), 1)
    _note({"fault": fault, "phase": phase, "role": role, "lost": len(lost), "cost": cost})


def _note(found: dict) -> None:
    """For `tests.faults_page`."""
    if path := os.environ.get(FOUND):
        with Path(path).open("a") as file:
            file.write(json.dumps(found) + "\n")


def _run(folder: Path, fault: str, phase: str, role: str) -> Result:
    with ExitStack() as stack:
        what, places = fault, {}
        if fault in _CUTS:
            hosts = stack.enter_context(closing(Hosts(delay=0.0, loss=0.0)))
            what, places = _on_two_hosts(hosts, folder / "cut.sh", fault, role)
        return _play(folder, fault, phase, role, what, places)


def _on_two_hosts(hosts: Hosts, script: Path, fault: str, role: str) -> tuple[str, dict[str, Any]]:
    """One host is that of the role, and the script cuts it off; all others are on the other one."""
    address, _ = hosts.add(1), hosts.add(2)
    alone = _RANK[role]
    first = [rank == 0 if alone == 0 else rank != alone for rank in range(_RANKS)]
    places = [hosts.namespace("1" if here else "2") for here in first]
    script.write_text(hosts.script(1 if alone == 0 else 2, *_CUTS[fault]))
    return str(script), {"address": address, "places": places}


def _play(
    folder: Path, fault: str, phase: str, role: str, what: str, places: dict[str, Any]
) -> Result:
    marker, lasting = folder / "marker", fault in _LASTING
    job = [
        *_JOB, "attack._target_=tests.saboteurs_at.FailsAt", f"+attack.fault={what}",
        f"+attack.phase={phase}", f"+attack.in_round={_IN_ROUND}", f"+attack.marker={marker}",
        f"+attack.node={_STAGES.get(role, role)}", "attack.nodes=[r1.s0]",
    ]  # fmt: skip
    if (fault == "pause" or fault in _CUTS) and role == "coordinator" and not lasting:
        # its nodes miss it after sync.timeout, and wait for it to come back
        job = [*job, "sync.patience=60"]
    if role == "spare":  # nothing is asked of it
        result = _awaited(folder / "run", _JOB, role, lasting, partial(_disturb, what), **places)
    else:
        stopped = fault == "stop" and role == "coordinator"
        result = _awaited(folder / "run", job, role, lasting, stopped=stopped, **places)
        assert marker.exists(), "nothing has happened"
    if role == "coordinator" and (lasting or fault in ("memory", "exception")):
        killed = fault in _SIGNALS
        assert result.statuses[0] == (-signal.SIGKILL if killed else 1), result.output
        result = run_job(result.run, _RANKS, *job, "resume=true", seconds=150)
    assert result.statuses[0] == 0, result.output
    return result


def _awaited(
    run: Path,
    job: list[str],
    role: str,
    lasting: bool,
    disturb: Callable[[int], object] | None = None,
    stopped: bool = False,
    **places: Any,
) -> Result:
    """Wait for the coordinator, and then for all others but for one that does not come back; for
    the others alone where it is the coordinator, and that is stopped."""
    processes, log = start_job(run, _RANKS, *job, **places)
    try:
        if disturb is not None:
            await_entry(run, "root", _IN_ROUND - 1, processes)
            disturb(processes[_RANK[role]].pid)
        for process in processes[1:] if stopped else processes[:1]:
            process.join(150)
        if lasting:
            processes[_RANK[role]].kill()
        return finish_job(run, processes, log, seconds=20)
    finally:
        for process in processes:
            process.kill()


def _disturb(what: str, pid: int) -> None:
    if what in _SIGNALS:
        os.kill(pid, _SIGNALS[what])
    elif what == "pause":
        pause(pid)
    else:
        subprocess.run(["sh", "-e", what], check=True)
