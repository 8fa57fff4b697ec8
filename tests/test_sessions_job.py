"""Nodes that come, go and come back while a job runs: real processes, real kills."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import pytest

from tdml.errors import INTERRUPTED
from tdml.monitor.timeline import timeline_of
from tests.agents import torchrun, wait_until
from tests.jobs import SMALL, descendants, free_port, kill_tree, start_command, start_job
from tests.run_ledgers import await_entry, entries, verify

pytestmark = pytest.mark.timeout(150)
_JOB = [*SMALL, "topology.replicas=2", "topology.stages=1", "sync.local_steps=2", "rounds=4000"]


class Job:
    """A job of ranks in one process each, and of commands that join it."""

    def __init__(self, folder: Path) -> None:
        self.run, self._folder = folder / "run", folder
        self.ranks, self.joined, self.log = [], [], folder / "run.log"

    def start(self, ranks: int, *overrides: str) -> None:
        """Start the ranks that are there from the start."""
        self.ranks, self.log = start_job(self.run, ranks, *overrides)

    @property
    def output(self) -> str:
        """What the ranks have printed."""
        return self.log.read_text() if self.log.exists() else ""

    @property
    def rounds(self) -> list[dict]:
        """The rounds that are recorded."""
        path = self.run / "metrics.jsonl"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def nodes(self) -> set[str]:
        """Who sits in a slot in the last round that has begun."""
        slots = entries(self.run, "round")[-1].body["slots"]
        return {name for names in slots.values() for name in names}

    def join(self, key: str, *overrides: str) -> subprocess.Popen:
        """`tdml join`, by whoever has the folder of keys of that name."""
        [address] = re.findall(r"tdml join (\S+:\d+)", self.output)[:1]
        keys = f"identity.folder={self._folder / key}"
        process = start_command(sys.executable, "-m", "tdml.cli", "join", address, *overrides, keys)
        self.joined.append(process)
        return process

    def come_back(self, *overrides: str) -> subprocess.Popen:
        """A coordinator alone, in the place of the one before it."""
        [port] = set(re.findall(r"tdml join 127.0.0.1:(\d+)", self.output))
        rank = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
        store = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        process = start_command(
            sys.executable,
            "-m",
            "tdml",
            *overrides,
            f"run_dir={self.run}",
            "resume=true",
            environment=rank | store,
        )
        self.joined.append(process)
        return process

    def wait(self, condition: Callable[[], bool], seconds: float = 90) -> None:
        """Until a condition holds; the coordinator must live."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"the condition never came:\n{self.output}"
            assert self.ranks[0].is_alive(), self.output
            time.sleep(0.25)  # to look takes as long as the ledger is

    def stop(self) -> None:
        """Interrupt the run; its record must be sound."""
        os.kill(self.ranks[0].pid, signal.SIGTERM)
        self.ranks[0].join(30)

    def kill(self) -> None:
        """End whatever still runs."""
        for process in self.ranks:
            process.kill()
        for process in self.joined:
            kill_tree(process)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    made = Job(tmp_path)
    yield made
    made.kill()


@pytest.mark.slow
def test_a_newcomer_takes_the_slot_of_a_killed_node_leaves_and_comes_back_under_its_name(
    job: Job, capsys: pytest.CaptureFixture
) -> None:
    settings = [*_JOB, "topology.microbatches=1"]
    job.start(3, *settings)
    job.wait(lambda: len(job.rounds) >= 1)
    newcomer = job.join("theirs", *settings)
    job.wait(lambda: "spare0 has joined" in job.output)
    job.ranks[2].kill()
    job.wait(lambda: job.nodes() == {"r0.s0", "spare0"})
    newcomer.send_signal(signal.SIGINT)
    said, _ = newcomer.communicate(timeout=30)
    assert newcomer.returncode == INTERRUPTED
    assert "takes part as spare0" in said
    assert "spare0 leaves (SIGINT)" in said
    job.wait(lambda: job.nodes() == {"r0.s0"})
    job.join("theirs", *settings)
    job.wait(lambda: "spare0 is back" in job.output)
    job.wait(lambda: job.nodes() == {"r0.s0", "spare0"})
    job.joined[-1].send_signal(signal.SIGTERM)
    job.wait(lambda: job.nodes() == {"r0.s0"})
    job.stop()
    summary = json.loads((job.run / "summary.json").read_text())
    assert (summary["dead"], summary["left"]) == (["r1.s0"], ["spare0"])
    assert "Traceback" not in job.output
    rosters = [(entry.round, list(entry.body["keys"])) for entry in entries(job.run, "roster")]
    assert [names for _, names in rosters] == [["r0.s0", "r1.s0"], ["r0.s0", "r1.s0", "spare0"]]
    assert rosters[0][0] == 0 < rosters[1][0]
    timeline = timeline_of(entries(job.run))
    assert [(event.node, event.what) for event in timeline.events] == [
        ("spare0", "joins"), ("r1.s0", "is gone"), ("spare0", "is gone"), ("spare0", "is back"),
        ("spare0", "is gone"),
    ]  # fmt: skip
    joins, *_, gone = timeline.events
    assert timeline.rounds[joins.place].slots.get("spare0") is None
    assert timeline.rounds[gone.place].slots["spare0"] == "r1.s0"
    verify(job.run, capsys)


@pytest.mark.slow
def test_a_job_starts_with_one_of_two_replicas_and_grows_to_three(
    job: Job, capsys: pytest.CaptureFixture
) -> None:
    settings = [
        *SMALL, "topology.replicas=2", "topology.min_replicas=1", "topology.max_replicas=3",
        "topology.stages=2", "topology.microbatches=2", "sync.local_steps=2", "rounds=4000",
    ]  # fmt: skip
    job.start(3, *settings)
    job.wait(lambda: len(job.rounds) >= 1)
    for key in ("a", "b"):
        job.join(key, *settings)
    job.wait(lambda: [0, 1] in [line["accepted"] for line in job.rounds])
    for key in ("c", "d"):
        job.join(key, *settings)
    job.wait(lambda: [0, 1, 2] in [line["accepted"] for line in job.rounds])
    job.ranks[0].kill()
    job.ranks[0].join()
    before = len(job.rounds)
    again = job.come_back(*settings)
    wait_until(lambda: job.rounds[before + 2 :] and job.rounds[-1]["accepted"] == [0, 1, 2])
    again.send_signal(signal.SIGTERM)
    said, _ = again.communicate(timeout=30)
    assert "replicas 2 (from 1, up to 3) × stages 2" in said, said
    for node in (each for each in job.joined if each is not again):
        told, _ = node.communicate(timeout=30)
        assert "the run was interrupted, and may go on" in told
    assert "Traceback" not in job.output + said
    accepted = [line["accepted"] for line in job.rounds]
    assert [a for a, _ in groupby(accepted)][:3] == [[0], [0, 1], [0, 1, 2]], accepted
    slots = entries(job.run, "round")[-1].body["slots"]
    assert slots["0"] == ["r0.s0", "r0.s1"]
    assert {*slots["1"], *slots["2"]} == {"spare0", "spare1", "spare2", "spare3"}
    terms = entries(job.run, "job")[0].body
    assert (terms["replicas"], len(terms["samples"])) == (3, 3)
    verify(job.run, capsys)


@pytest.mark.slow
def test_nodes_whose_partners_are_killed_go_on_with_each_other(
    job: Job, capsys: pytest.CaptureFixture
) -> None:
    settings = [
        *SMALL, "topology.replicas=2", "topology.stages=2", "topology.microbatches=2",
        "sync.local_steps=2", "rounds=4000",
    ]  # fmt: skip
    job.start(5, *settings)
    job.wait(lambda: [0, 1] in [line["accepted"] for line in job.rounds])
    for rank in (2, 3):  # r0.s1 and r1.s0
        job.ranks[rank].kill()
    job.wait(lambda: entries(job.run, "round")[-1].body["slots"] == {"0": ["r0.s0", "r1.s1"]})
    before = len(job.rounds)
    job.wait(lambda: job.rounds[before + 1 :] and job.rounds[-1]["accepted"] == [0])
    job.stop()
    assert "r1.s1 takes the place of r0.s1 (dead)" in job.output
    assert "Traceback" not in job.output
    verify(job.run, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["absent", "deaf"])
def test_who_is_let_in_and_does_not_come_holds_nobody_up(job: Job, kind: str) -> None:
    settings = [*_JOB, "topology.microbatches=1"]
    job.start(3, *settings)
    job.wait(lambda: len(job.rounds) >= 1)
    [port] = set(re.findall(r"tdml join 127.0.0.1:(\d+)", job.output))
    hostile = start_command(
        sys.executable,
        "-m",
        "tests.absent_node",
        kind,
        *settings,
        environment={"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port},
    )
    job.joined.append(hostile)
    waits = "has not come to the session, and is left out"
    job.wait(lambda: f"spare0 {waits}" in job.output)
    before = len(job.rounds)
    job.wait(lambda: len(job.rounds) >= before + 12)
    assert job.output.count(waits) <= 4  # then it is passed over for eight borders each time
    assert job.nodes() == {"r0.s0", "r1.s0"}
    assert [line["accepted"] for line in job.rounds] == [[0, 1]] * len(job.rounds)
    job.stop()
    assert "Traceback" not in job.output


@pytest.mark.slow
def test_the_nodes_of_a_killed_coordinator_wait_for_it_and_go_on(
    job: Job, capsys: pytest.CaptureFixture
) -> None:
    kept = "sync.inner_state=kept"
    settings = [*_JOB[:-1], "topology.microbatches=1", kept, "trust.budget=1", "rounds=4000"]
    job.start(3, *settings)
    job.wait(lambda: len(job.rounds) >= 1)
    newcomer = job.join("theirs", *settings)
    job.wait(lambda: "spare0 has joined" in job.output)
    job.ranks[0].kill()
    job.ranks[0].join()
    again = job.come_back(*settings[:-1], "rounds=4000")
    try:
        await_line(again, "going on after round")
        before = len(job.rounds)
        wait_until(lambda: len(job.rounds) >= before + 3)
        again.send_signal(signal.SIGTERM)
        again.wait(30)
    finally:
        kill_tree(again)
    for name in ("r0.s0", "r1.s0"):
        assert f"{name}: the coordinator is out of reach: waiting for it to come back" in job.output
    for rank in job.ranks[1:]:
        rank.join(30)
    assert [rank.exitcode for rank in job.ranks[1:]] == [INTERRUPTED] * 2, job.output
    assert newcomer.wait(30) == INTERRUPTED
    assert [line["round"] for line in job.rounds] == list(range(1, len(job.rounds) + 1))
    assert job.rounds[-1]["accepted"] == [0, 1]
    assert "Traceback" not in job.output
    assert "spare0" in entries(job.run, "roster")[-1].body["keys"]
    assert {audit.body["outcome"] for audit in entries(job.run, "audit")} == {"clean"}
    verify(job.run, capsys)


@pytest.mark.slow
def test_under_torchrun_with_restarts_a_killed_coordinator_needs_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / "run"
    job = [*_JOB[:-1], "rounds=60", f"run_dir={run}"]
    agent = start_command(*torchrun(0, 1, str(free_port()), *job, ranks=3, restarts=3))
    try:
        await_entry(run, "root", 2, [])
        os.kill(descendants(agent.pid)[0], signal.SIGKILL)
        output, _ = agent.communicate(timeout=120)
    finally:
        kill_tree(agent)
    assert agent.returncode == 0, output
    assert "going on after round" in output
    metrics = (run / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in metrics] == list(range(1, 61))
    verify(run, capsys)


def await_line(process: subprocess.Popen, text: str) -> None:
    """Read a command's output until it has said something."""
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return
    raise AssertionError(said)
