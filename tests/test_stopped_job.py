"""A coordinator whose process is stopped for good, under torchrun, whose agent and store live on."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.jobs import SMALL, descendants, free_port, kill_tree, start_command
from tests.run_ledgers import await_entry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
_JOB = [
    *SMALL, "topology.replicas=2", "topology.stages=1", "sync.local_steps=2", "rounds=3000",
    "sync.timeout=5", "sync.patience=3",
]  # fmt: skip


def test_its_nodes_do_not_wait_for_ever_and_say_why_they_end(tmp_path: Path) -> None:
    agent = start_command(
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "3",
        "--master-port", str(free_port()), "-m", "tdml", *_JOB, f"run_dir={tmp_path / 'run'}",
    )  # fmt: skip
    try:
        await_entry(tmp_path / "run", "root", 2, [])
        [coordinator] = [pid for pid in descendants(agent.pid) if _rank(pid) == "0"]
        os.kill(coordinator, signal.SIGSTOP)
        output, _ = agent.communicate(timeout=90)
    finally:
        kill_tree(agent)
    assert agent.returncode == 1, output
    assert "rank 1: the coordinator's process has shown no sign of life for 8 s" in output


def _rank(pid: int) -> str | None:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(pair.decode().split("=", 1) for pair in pairs if b"=" in pair).get("RANK")
