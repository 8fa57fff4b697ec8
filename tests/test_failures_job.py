"""Nodes that raise, die, hang or are stopped, and coordinators that are interrupted."""

import json
import os
import re
import signal
import time
from multiprocessing import Process
from pathlib import Path

import pytest

from tdml.errors import INTERRUPTED
from tests.jobs import SMALL, Result, finish_job, run_job, start_job

_JOB = [*SMALL, "topology.replicas=3", "topology.stages=2", "sync.local_steps=3"]


def test_worker_that_raises_costs_its_replica_the_round(tmp_path: Path) -> None:
    result = run_job(
        tmp_path / "run",
        7,
        *_JOB,
        "rounds=3",
        "attack._target_=tests.plugins.Raises",
        "+attack.in_round=2",
        "attack.nodes=[r1.s1]",
    )
    assert result.statuses == [0] * 7, result.output
    assert result.verdicts(1) == ["honest", "lost", "honest"]
    assert [line["accepted"] for line in result.rounds] == [[0, 1, 2], [0, 2], [0, 1, 2]]
    assert "replica 1 lost: r1.s1: RuntimeError: planted failure" in result.rounds[1]["notes"]
    assert result.summary["banned"] == []
    assert "planted failure" in (result.run / "failures.log").read_text()
    assert "Traceback" not in result.output


def test_killed_node_is_replaced_by_a_spare(tmp_path: Path) -> None:
    result = disturb(
        tmp_path / "run", 8, [*_JOB, "topology.spares=1", "rounds=6"], rank=3, signum=signal.SIGKILL
    )
    assert result.statuses == [0, 0, 0, -signal.SIGKILL, 0, 0, 0, 0], result.output
    assert result.summary["dead"] == ["r1.s0"]
    assert result.summary["round"] == 6
    assert result.rounds[-1]["accepted"] == [0, 1, 2]
    assert "spare0 takes the place of r1.s0 (dead)" in result.output


@pytest.mark.slow
def test_without_a_spare_the_other_replicas_go_on(tmp_path: Path) -> None:
    result = disturb(tmp_path / "run", 7, [*_JOB, "rounds=5"], rank=6, signum=signal.SIGKILL)
    assert result.statuses[0] == 0, result.output
    assert result.rounds[-1]["accepted"] == [0, 1]
    assert result.verdicts(2)[-1] == ""


@pytest.mark.slow
def test_node_that_hangs_is_given_up_after_the_timeout(tmp_path: Path) -> None:
    job = [*_JOB, "topology.spares=1", "rounds=6", "sync.timeout=3"]
    result = disturb(tmp_path / "run", 8, job, rank=5, signum=signal.SIGSTOP)
    assert result.statuses[0] == 0, result.output
    assert result.summary["dead"] == ["r2.s0"]
    assert re.search(r"^waiting for r2\.s0 \(\d+ s\)$", result.output, re.MULTILINE), result.output
    assert result.rounds[-1]["accepted"] == [0, 1, 2]


def test_when_no_replica_is_left_the_run_ends_and_says_so(tmp_path: Path) -> None:
    job = [
        *SMALL, "topology.replicas=1", "topology.stages=2", "sync.local_steps=3", "rounds=50",
        "sync.patience=1",
    ]  # fmt: skip
    result = disturb(tmp_path / "run", 3, job, rank=1, signum=signal.SIGKILL)
    assert result.statuses[0] == 1
    assert "no replica is left" in result.summary["exit_reason"]
    assert "resume=true" in result.output
    assert "Traceback" not in result.output


def test_what_stops_every_replica_alike_ends_the_run_in_its_first_round_and_no_neighbour_waits(
    tmp_path: Path,
) -> None:
    """Every stage 0 fails in the middle of a step, while its neighbour waits for what it was to
    send."""
    job = [*SMALL, "model._target_=tests.plugins.fails_in_a_step", "+model.alike=true"]
    result = run_job(
        tmp_path / "run",
        5,
        *job,
        "topology.replicas=2",
        "topology.stages=2",
        "topology.cuts=[2]",
        "rounds=50",
        "sync.timeout=60",
    )
    assert result.statuses[0] == 1
    assert [line["round"] for line in result.rounds] == [1]
    assert result.rounds[0]["seconds"]["train"] < 30
    assert result.summary["dead"] == []
    reason = "no replica has finished its steps in 1 round: r0.s0: RuntimeError: planted on rank"
    assert result.summary["exit_reason"].startswith(reason)
    assert not (result.run / "model.pt").exists()
    assert "Traceback" not in result.output


def test_a_model_that_one_node_cannot_build_costs_its_replica_alone_and_no_neighbour_waits(
    tmp_path: Path,
) -> None:
    job = [
        *SMALL,
        "model._target_=tests.plugins.not_on_rank_2",
        "topology.replicas=2",
        "topology.stages=2",
    ]
    result = run_job(tmp_path / "run", 5, *job, "sync.local_steps=2", "rounds=2", "sync.timeout=60")
    assert result.statuses == [0] * 5, result.output
    assert [line["accepted"] for line in result.rounds] == [[1], [1]]
    [note] = result.rounds[0]["notes"]
    assert note.startswith(
        "replica 0 lost: r0.s1: model=tests.plugins.not_on_rank_2 cannot be used: "
    )
    assert result.summary["dead"] == []
    assert "Traceback" not in result.output


@pytest.mark.slow
def test_what_stops_every_replica_for_reasons_of_its_own_ends_the_run_in_the_third_round(
    tmp_path: Path,
) -> None:
    job = [*SMALL, "model._target_=tests.plugins.fails_in_a_step", "+model.alike=false"]
    result = run_job(
        tmp_path / "run", 3, *job, "topology.replicas=2", "topology.stages=1", "rounds=50"
    )
    assert result.statuses[0] == 1
    assert (
        "no replica has finished its steps in 3 rounds: r0.s0: RuntimeError: "
        in result.summary["exit_reason"]
    )


@pytest.mark.slow
def test_when_no_replica_finishes_its_steps_the_run_ends_and_says_why(tmp_path: Path) -> None:
    result = run_job(
        tmp_path / "run",
        3,
        *SMALL,
        "topology.replicas=2",
        "topology.stages=1",
        "rounds=50",
        "data._target_=tests.plugins.unreadable",
        "~data.size",
    )
    assert result.statuses[0] == 1
    assert result.summary["round"] == 1
    assert (
        "no replica has finished its steps in 1 round: r0.s0: data: training sample"
        in result.summary["exit_reason"]
    )
    assert not (result.run / "model.pt").exists()
    assert "Traceback" not in result.output


def test_a_run_of_which_nothing_could_be_evaluated_has_failed_and_says_why(tmp_path: Path) -> None:
    job = [
        *SMALL,
        "topology.replicas=2",
        "topology.stages=1",
        "sync.local_steps=2",
        "rounds=2",
        "trust.enabled=false",
    ]
    result = run_job(tmp_path / "run", 3, *job, "model._target_=tests.plugins.trains_only")
    assert result.statuses[0] == 1
    assert [line["test_accuracy"] for line in result.rounds] == [None, None]
    assert (
        "evaluated in no round, so nobody knows what they are worth"
        in result.summary["exit_reason"]
    )
    assert "r0.s0: RuntimeError: cannot be evaluated" in result.summary["exit_reason"]
    assert not (result.run / "model.pt").exists()
    assert "Traceback" not in result.output


@pytest.mark.slow
def test_a_run_that_has_learnt_nothing_has_failed_and_nobody_is_to_blame(tmp_path: Path) -> None:
    job = [
        *SMALL,
        "topology.replicas=2",
        "topology.stages=1",
        "sync.local_steps=2",
        "rounds=2",
        "train.lr=1e30",
    ]
    result = run_job(tmp_path / "run", 3, *job, "trust.budget=0")
    assert result.statuses[0] == 1
    assert "no update was accepted in any round" in result.output
    reasons = [line["reason"] for line in result.rounds[0]["replicas"].values()]
    assert all("training diverges (see train.lr)" in reason for reason in reasons), result.why()
    assert result.summary["banned"] == []
    assert not (result.run / "model.pt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_interrupted_run_can_be_resumed(tmp_path: Path, signum: int) -> None:
    job = [*_JOB, "rounds=8"]
    stopped = disturb(tmp_path / "run", 7, job, rank=0, signum=signum)
    assert stopped.statuses == [INTERRUPTED] * 7, stopped.output
    assert "interrupted after round" in stopped.summary["exit_reason"]
    assert "Traceback" not in stopped.output
    result = run_job(tmp_path / "run", 7, *job, "resume=true")
    assert [line["round"] for line in result.rounds] == list(range(1, 9)), result.output


def disturb(run: Path, ranks: int, job: list[str], rank: int, signum: int) -> Result:
    """Send a signal to one rank as soon as the first round is recorded."""
    processes, log = start_job(run, ranks, *job)
    try:
        _wait_for_rounds(run, 1, processes)
        os.kill(processes[rank].pid, signum)
        if signum == signal.SIGSTOP:
            processes[0].join(90)
            processes[rank].kill()
        return finish_job(run, processes, log, seconds=90)
    finally:
        for process in processes:
            process.kill()


def _wait_for_rounds(run: Path, count: int, processes: list[Process]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and all(process.is_alive() for process in processes):
        metrics = run / "metrics.jsonl"
        if (
            metrics.exists()
            and len([json.loads(line) for line in metrics.read_text().splitlines()]) >= count
        ):
            return
        time.sleep(0.02)
    raise AssertionError("no round was recorded")
