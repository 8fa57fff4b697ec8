"""launch/multinode.sh: a job over ssh, with an ssh server of the test's own."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tdml.wire.silence import reach
from tests.jobs import SMALL, free_port, kill_tree, run_command, start_command
from tests.run_ledgers import await_entry, verify

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_ROOT = Path(__file__).resolve().parent.parent
_SETTINGS = [
    *SMALL, "topology.replicas=2", "topology.stages=1", "topology.microbatches=1",
    "sync.local_steps=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The command that reaches this machine as another would be."""
    server = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    if server is None or os.geteuid():
        pytest.skip("no ssh server here, or not root, as whom it is started")
    folder, port = tmp_path_factory.mktemp("ssh"), free_port()
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True
        )
    Path("/run/sshd").mkdir(exist_ok=True)
    options = [
        f"AuthorizedKeysFile={folder}/user.pub", "StrictModes=no", "PidFile=none",
        "ListenAddress=127.0.0.1", f"SetEnv=PYTHONPATH={_ROOT}",
    ]  # fmt: skip
    words = [server, "-D", "-e", "-f", "/dev/null", "-h", str(folder / "host"), "-p", str(port)]
    daemon = start_command(*words, *[word for option in options for word in ("-o", option)])
    assert reach("127.0.0.1", port, 30), "the ssh server does not listen"
    yield (
        f"ssh -p {port} -i {folder}/user -o BatchMode=yes -o StrictHostKeyChecking=no "
        f"-o UserKnownHostsFile={folder}/known -o LogLevel=ERROR"
    )
    kill_tree(daemon)


def variables(ssh: str) -> dict[str, str]:
    return {"SSH": ssh, "PORT": str(free_port()), "PYTHON": sys.executable}


def command(run: Path, *overrides: str) -> list[str]:
    hosts = ["127.0.0.1"] * 3
    keys = f"identity.folder={run.parent / 'keys'}"
    return [
        "bash", "launch/multinode.sh", *hosts, "--", *_SETTINGS, f"run_dir={run}", keys, *overrides
    ]  # fmt: skip


def test_a_job_over_ssh_ends_well(ssh: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = tmp_path / "run"
    job = start_command(*command(run, "rounds=3"), cwd=_ROOT, environment=variables(ssh))
    try:
        output, _ = job.communicate(timeout=200)
    finally:
        kill_tree(job)
    assert job.returncode == 0, output
    assert "all 3 rounds done" in output
    verify(run, capsys)


def test_whoever_interrupts_it_ends_all_hosts_and_it_can_go_on(ssh: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    job = start_command(*command(run, "rounds=4000"), cwd=_ROOT, environment=variables(ssh))
    try:
        await_entry(run, "root", 1, [], seconds=200)
        job.send_signal(signal.SIGTERM)
        output, _ = job.communicate(timeout=60)
    finally:
        kill_tree(job)
    assert not _processes_of(run)
    assert "go on with resume=true" in output
    assert list((run / "checkpoints").iterdir())


def test_what_is_missing_is_said_in_one_line() -> None:
    done = run_command("bash", "launch/multinode.sh", "10.0.0.1")
    assert (done.returncode, done.stdout) == (1, "tdml: name the hosts, then --, then settings\n")


def _processes_of(run: Path) -> list[str]:
    """What still runs for that run folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if f"run_dir={run}".encode() in words:
            found.append(entry.parent.name)
    return found
