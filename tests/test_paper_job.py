"""The paper's experiments played for real, on a small model and small data."""

import signal
import sys
import time
from pathlib import Path

import pytest

from tdml.paper.play import state_of
from tests.jobs import kill_tree, run_command, start_command

_SMALL = [
    "model._target_=tdml.models.cnn", "+model.channels=3", "+model.width=8", "+model.norm=true",
    "data._target_=tests.plugins.small", "train.lr=0.05",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_is_cut_off_goes_on_and_is_skipped_once_it_is_done(tmp_path: Path) -> None:
    folders = [
        "--runs",
        str(tmp_path / "runs"),
        "--docs",
        str(tmp_path / "docs"),
        "--data",
        str(tmp_path),
    ]
    tdml = [sys.executable, "-m", "tdml.cli", "paper", *folders, "resnet18-paper-1x1"]
    run, metrics = "resnet18-paper-1x1", tmp_path / "runs" / "resnet18-paper-1x1" / "metrics.jsonl"
    process = start_command(*tdml, *_SMALL, "rounds=40")
    try:
        deadline = time.monotonic() + 90
        while not metrics.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        kill_tree(process)
    assert process.returncode == 130, output
    assert f"stopped: {run}: round " in output and "Traceback" not in output
    reached = len(metrics.read_text().splitlines())
    assert 1 <= reached < 40
    again = run_command(*tdml, *_SMALL, f"rounds={reached + 2}", seconds=120)
    assert again.returncode == 0, again.stdout
    assert f"going on after round {reached}" in again.stdout
    assert state_of(tmp_path / "runs" / run).startswith(
        f"done: round {reached + 2} of {reached + 2}"
    )
    skipped = run_command(*tdml, *_SMALL, f"rounds={reached + 2}", seconds=60)
    assert skipped.stdout.startswith(f"[1/1] {run}: done: ") and skipped.stdout.count("\n") == 1
    kept = run_command(*tdml[:-1], "--results", seconds=60)
    assert kept.stdout.splitlines() == [
        f"{run}: {reached + 2} rounds",
        str(tmp_path / "docs" / "results.md"),
    ]
    assert (
        f"| `{run}` | – | {reached + 2} of {reached + 2} |"
        in (tmp_path / "docs" / "results.md").read_text()
    )
