"""`tdml join` where there is no job to join, or none that it can do the work of."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tdml import cli
from tests.agents import wait_until
from tests.jobs import kill_tree, run_command, start_command

_ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nowhere", "nowhere is no HOST:PORT"),
        ("127.0.0.1:99999", "127.0.0.1:99999 is no HOST:PORT"),
        (f"{'a' * 70}:29500", f"{'a' * 70}:29500: that can be no host's name"),
        ("127.0.0.1:-1", "127.0.0.1:-1 is no HOST:PORT"),
        ("127.0.0.1:1", "no job answers at 127.0.0.1:1 within sync.patience=1 s"),
    ],
)
def test_an_address_without_a_job_is_named_in_one_line(address: str, said: str) -> None:
    found = run_command(sys.executable, "-m", "tdml.cli", "join", address, "sync.patience=1")
    assert found.returncode == 1
    assert f"tdml: {said}" in found.stdout
    assert "Traceback" not in found.stdout


@pytest.mark.timeout(60)
def test_a_host_that_is_not_known_yet_is_said_at_once_and_waited_for() -> None:
    address = "no.such.host.invalid:29500"
    found = run_command(sys.executable, "-m", "tdml.cli", "join", address, "sync.patience=1")
    assert found.returncode == 1
    assert "no host is known as no.such.host.invalid: " in found.stdout
    assert f"tdml: no job answers at {address} within sync.patience=1 s" in found.stdout


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "b"], "give one RUN to report of, or several after --compare"),
        ([], "give one RUN to report of, or several after --compare"),
        (["nowhere"], "nowhere is no folder: give that of a run"),
    ],
)
def test_a_report_of_nothing_or_of_two_is_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture
) -> None:
    assert cli.run(["report", *arguments]) == 1
    assert capsys.readouterr() == ("", f"tdml: {said}\n")


@pytest.mark.timeout(150)
def test_who_has_another_version_of_the_users_model_is_told_so_and_not_banned(
    tmp_path: Path,
) -> None:
    """Its work would be other work, which an audit proves. The rounds take no processor while it
    starts."""
    for machine, layer in (("theirs", "ReLU"), ("mine", "GELU")):
        (tmp_path / machine).mkdir()
        (tmp_path / machine / "mine.py").write_text(
            "import time\nfrom torch import nn\nclass Slow(nn.Module):\n"
            "    def forward(self, value):\n        time.sleep(0.05)\n        return value\n"
            "def net(num_classes):\n    return nn.Sequential(Slow(), "
            f"nn.Flatten(), nn.Linear(768, 8), nn.{layer}(), nn.Linear(8, num_classes))\n"
        )
    job = [
        "model._target_=mine.net", "data.size=16", "topology.replicas=2", "topology.stages=1",
        "topology.max_replicas=3", "sync.local_steps=2", "rounds=4000",
    ]  # fmt: skip
    command, paths = [sys.executable, "-m", "tdml.cli"], {"PYTHONPATH": str(_ROOT)}
    own = [f"run_dir={tmp_path / 'run'}", f"identity.folder={tmp_path / 'keys'}"]
    log = tmp_path / "log"
    started = start_command(
        "sh", "-c", f'exec "$0" "$@" >{log}', *command, "train", *job, *own,
        cwd=tmp_path / "theirs", environment=paths,
    )  # fmt: skip
    try:
        metrics = tmp_path / "run" / "metrics.jsonl"
        wait_until(lambda: metrics.exists() and metrics.read_text().count("\n") >= 1, started)
        [address] = re.findall(r"tdml join (\S+:\d+)", log.read_text())
        joined = start_command(
            *command, "join", address, *job, f"identity.folder={tmp_path / 'others'}",
            cwd=tmp_path / "mine", environment=paths,
        )  # fmt: skip
        try:
            said, _ = joined.communicate(timeout=60)
        finally:
            kill_tree(joined)
        os.kill(started.pid, signal.SIGTERM)
        started.wait(40)
    finally:
        kill_tree(started)
    assert joined.returncode == 1
    assert "is refused: spare0 has other code than rank 0 (mine): have the same on every" in said
    assert '"banned": []' in (tmp_path / "run" / "summary.json").read_text()
