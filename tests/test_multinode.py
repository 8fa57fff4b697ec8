"""launch/multinode.sh with terminals of this machine in the place of hosts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.jobs import kill_tree, start_command

# As ssh does: a terminal for the host's command, and its exit status.
_SSH = """
import os, pty, sys
os.environ["HOST"] = sys.argv[2]
sys.exit(os.waitstatus_to_exitcode(pty.spawn(["env", "--default-signal", "sh", os.environ["RANK"]])))
"""
_GOES_ON = (
    "trap 'sleep 1; echo $HOST has ended; exit 75' INT; touch $HOST; while :; do sleep 0.1; done"
)


def _start(folder: Path, rank: str) -> subprocess.Popen:
    (folder / "ssh.py").write_text(_SSH)
    (folder / "rank.sh").write_text(rank)
    return start_command(
        "env", "--default-signal", "bash", "launch/multinode.sh", "one", "two", "--", "rounds=3",
        environment={
            "SSH": f"{sys.executable} {folder / 'ssh.py'}", "RANK": str(folder / "rank.sh"),
        },
    )  # fmt: skip


def _await(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("by", ["SIGTERM", "Ctrl-C"])
def test_whoever_interrupts_it_has_waited_for_all_hosts(by: str, tmp_path: Path) -> None:
    job = _start(tmp_path, f"cd {tmp_path}; {_GOES_ON}")
    try:
        for host in ("one", "two"):
            _await(tmp_path / host)
        if by == "SIGTERM":
            job.terminate()
        else:
            os.killpg(job.pid, signal.SIGINT)
        output, _ = job.communicate(timeout=20)
    finally:
        kill_tree(job)
    assert (job.returncode, sorted(output.replace("^C", "").split("\n"))) == (
        75, ["", "one has ended", "two has ended"],
    )  # fmt: skip


def test_a_second_interruption_waits_for_none(tmp_path: Path) -> None:
    job = _start(
        tmp_path,
        f"cd {tmp_path}; trap 'touch $HOST.told' INT; {_GOES_ON[_GOES_ON.index('touch') :]}",
    )
    try:
        for _ in range(2):
            _await(tmp_path / "two")
            job.send_signal(signal.SIGTERM)
            _await(tmp_path / "two.told")
        job.communicate(timeout=20)
    finally:
        kill_tree(job)


def test_hosts_end_by_themselves_with_the_first(tmp_path: Path) -> None:
    job = _start(tmp_path, "[ $HOST = one ] || sleep 2; echo $HOST is done")
    try:
        output, _ = job.communicate(timeout=20)
    finally:
        kill_tree(job)
    assert (job.returncode, output.split("\n")) == (0, ["one is done", "two is done", ""])


def test_a_first_host_that_fails_ends_the_others(tmp_path: Path) -> None:
    job = _start(tmp_path, f"cd {tmp_path}; [ $HOST = two ] || exit 3; {_GOES_ON}")
    try:
        job.communicate(timeout=20)
    finally:
        kill_tree(job)
    assert job.returncode == 3
