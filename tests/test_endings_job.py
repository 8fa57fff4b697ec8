"""Jobs that are ended from outside, as schedulers and operators do it: what they leave, and who
ends."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tdml.errors import INTERRUPTED
from tdml.round.checkpoint import load_last
from tests.agents import start_agents, wait_until
from tests.jobs import (
    SMALL,
    descendants,
    finish_job,
    kill_tree,
    run_job,
    start_command,
    start_job,
)
from tests.run_ledgers import await_entry, entries, verify

_JOB = [*SMALL, "topology.replicas=2", "topology.stages=1", "sync.local_steps=2", "rounds=300"]
_OPERATOR = {  # of Kubernetes, for a job of three machines of which this is the second
    "PET_NNODES": "3", "PET_NPROC_PER_NODE": "2", "PET_NODE_RANK": "1",
    "PET_MASTER_ADDR": "192.0.2.1", "PET_MASTER_PORT": "23456", "PET_RDZV_BACKEND": "c10d",
    "PET_RDZV_ENDPOINT": "192.0.2.1:23456", "PET_MAX_RESTARTS": "3", "MASTER_ADDR": "192.0.2.1",
    "MASTER_PORT": "23456", "WORLD_SIZE": "6", "RANK": "2",
}  # fmt: skip


def test_an_interrupted_record_is_finished_first(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Otherwise the ledger has a round that the checkpoint has not: none, if it is the first."""
    result = run_job(
        tmp_path / "run",
        3,
        *_JOB,
        "attack._target_=tests.saboteurs.InterruptsRecord",
        "attack.nodes=[r0.s0]",
    )
    assert result.statuses == [INTERRUPTED] * 3, result.output
    _assert_can_go_on(result.run, result.output, capsys)


def test_a_signal_that_reaches_the_workers_first_loses_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Slurm signals all processes of all machines, one after the other."""
    processes, log = start_job(tmp_path / "run", 3, *_JOB)
    try:
        await_entry(tmp_path / "run", "root", 1, processes)
        for process in processes[1:]:
            os.kill(process.pid, signal.SIGTERM)
        time.sleep(1)
        os.kill(processes[0].pid, signal.SIGTERM)
        result = finish_job(tmp_path / "run", processes, log, seconds=40)
    finally:
        for process in processes:
            process.kill()
    assert result.statuses == [INTERRUPTED] * 3, result.output
    assert result.summary["dead"] == []
    _assert_can_go_on(result.run, result.output, capsys)


def test_the_launcher_passes_a_signal_on_and_ends_with_a_status_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Twice, as impatient users do it: the second one does not cut the end short."""
    launcher = _train(tmp_path / "run")
    try:
        ranks = _await_rounds(tmp_path / "run", launcher)
        for _ in range(2):
            launcher.send_signal(signal.SIGTERM)
            time.sleep(0.3)
        launcher.wait(timeout=30)
        assert not any(map(_runs, ranks)), "it ends last"
        output, _ = launcher.communicate(timeout=30)
    finally:
        kill_tree(launcher)
    assert launcher.returncode == INTERRUPTED, output
    _assert_can_go_on(tmp_path / "run", output, capsys)


def test_a_launcher_that_is_killed_takes_its_ranks_along(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Started by an operator whose variables are for torchrun on many machines."""
    launcher, ranks = _train(tmp_path / "run", environment=_OPERATOR), []
    try:
        ranks = _await_rounds(tmp_path / "run", launcher)
        assert len(ranks) == 3
        launcher.kill()
        output, _ = launcher.communicate(timeout=30)  # the pipe ends with the last of them
    finally:
        kill_tree(launcher)
        for pid in ranks:
            _kill(pid)
    last = _assert_can_go_on(tmp_path / "run", output, capsys)
    again = run_job(tmp_path / "run", 3, *_JOB[:-1], f"rounds={last + 1}", "resume=auto")
    assert again.statuses == [0] * 3, again.output
    assert [line["round"] for line in again.rounds] == list(range(1, last + 2))


@pytest.mark.parametrize(
    "streams",
    [">/dev/full 2>&1", pytest.param("<&- >&- 2>&-", marks=pytest.mark.slow)],
    ids=["full", "closed"],
)
def test_a_run_whose_lines_nobody_can_read_comes_to_its_end(streams: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tdml.cli", "train", *_JOB[:-1], "rounds=1"]
    started = subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {streams}', *command, f"run_dir={tmp_path / 'run'}"],
        timeout=120,
        check=False,
    )
    assert started.returncode == 0
    assert (tmp_path / "run" / "model.pt").exists()


def test_an_interruption_before_there_are_ranks_has_that_status_too() -> None:
    script = (
        "import os, signal; from tdml import cli; from tdml.run import launch\n"
        "launch.import_once = lambda: os.kill(os.getpid(), signal.SIGTERM)\n"
        "cli.run(['train'])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        INTERRUPTED,
        "",
        "tdml: interrupted (SIGTERM)\n",
    )


@pytest.mark.parametrize(
    "start",
    [
        "from tdml.entry import main; main()",
        "import runpy; runpy.run_module('tdml', run_name='__main__')",
    ],
)
def test_an_interruption_of_the_imports_leaves_no_stack_trace(start: str) -> None:
    script = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'hydra': os.kill(os.getpid(), signal.SIGINT)\n"
        f"sys.meta_path.insert(0, Interrupts())\n{start}"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")


@pytest.mark.slow
@pytest.mark.parametrize("end", ["its rounds are done", "it is interrupted"])
def test_no_agent_waits_for_a_lost_one(end: str, tmp_path: Path) -> None:
    """torchrun would for five minutes, and hear no signal meanwhile."""
    rounds = 40 if end == "its rounds are done" else 3000
    agents = _agents(tmp_path / "run", 4, "topology.replicas=3", f"rounds={rounds}")
    try:
        _await_rounds(tmp_path / "run", agents[0])
        [lost] = descendants(agents[2].pid)
        agents[2].kill()
        wait_until(lambda: not _runs(lost), agents[0], seconds=15)
        if end == "it is interrupted":
            agents[0].send_signal(signal.SIGTERM)
        outputs = [agent.communicate(timeout=60)[0] for agent in agents]
    finally:
        for agent in agents:
            kill_tree(agent)
    statuses = [agent.returncode for agent in agents]
    if end == "its rounds are done":
        assert statuses == [0, 0, -signal.SIGKILL, 0], outputs
        assert not any("Traceback" in output for output in outputs), outputs
        assert (tmp_path / "run" / "model.pt").exists()
    else:
        assert statuses == [1, 1, -signal.SIGKILL, 1], outputs
        assert "interrupted after round" in outputs[0]
        assert all(f"exitcode  : {INTERRUPTED}" in outputs[index] for index in (1, 3)), outputs


@pytest.mark.slow
def test_when_the_first_agent_is_killed_all_end(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    agents = _agents(tmp_path / "run", 3, "topology.replicas=2", "rounds=3000", "sync.patience=1")
    try:
        _await_rounds(tmp_path / "run", agents[0])
        agents[0].kill()
        outputs = [agent.communicate(timeout=60)[0] for agent in agents]
    finally:
        for agent in agents:
            kill_tree(agent)
    assert [agent.returncode for agent in agents] == [-signal.SIGKILL, 1, 1], outputs
    _assert_can_go_on(tmp_path / "run", outputs[0], capsys)


def _train(run: Path, environment: dict[str, str] | None = None) -> subprocess.Popen:
    return start_command(
        sys.executable, "-m", "tdml.cli", "train", *_JOB, f"run_dir={run}", environment=environment
    )


def _agents(run: Path, count: int, *overrides: str) -> list[subprocess.Popen]:
    return start_agents(count, *_JOB[:-1], f"run_dir={run}", *overrides)


def _await_rounds(run: Path, launcher: subprocess.Popen) -> list[int]:
    """Wait until two rounds are recorded; what the launcher has started."""
    metrics = run / "metrics.jsonl"
    wait_until(lambda: metrics.exists() and metrics.read_text().count("\n") >= 2, launcher)
    return descendants(launcher.pid)


def _assert_can_go_on(run: Path, output: str, capsys: pytest.CaptureFixture) -> int:
    """The round that it says is the last is that of the checkpoint, of the metrics and of the
    ledger; that round."""
    assert "Traceback" not in output, output
    [said] = re.findall(
        r"^tdml: interrupted after round (\d+): go on with resume=true$", output, re.MULTILINE
    )
    last = int(said)
    checkpoint = load_last(run / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.round == last
    assert (run / "metrics.jsonl").read_text().count("\n") == last
    assert entries(run, "root")[-1].round == last
    verify(run, capsys)
    return last


def _runs(pid: int) -> bool:
    """Whether it is more than what a process leaves until somebody asks for its status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _kill(pid: int) -> None:
    if _runs(pid):
        os.kill(pid, signal.SIGKILL)
