"""What is said, and left, where a run has ended."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from tdml.config import load
from tdml.monitor.best import Best
from tdml.monitor.monitor import Monitor
from tdml.monitor.terminal import Terminal
from tdml.run import end_coordinator
from tdml.run.coordinator import Coordinator
from tests.monitor.run_folders import leave_run


@pytest.mark.parametrize("key", ["banned", "bytes"])
def test_a_record_that_cannot_be_read_hides_no_reason_why_the_run_has_ended(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And keeps nobody from sending the nodes home."""
    run = leave_run(tmp_path / "run", accuracies=[0.5, 0.6])
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    del lines[0][key]  # as of an earlier version, or of somebody's editor
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(end_coordinator, "note_farewells", lambda *_: None)
    monitor = SimpleNamespace(
        folder=SimpleNamespace(path=run, summarise=lambda _: None), best=Best([]),
        _config=load([]), _board=SimpleNamespace(close=lambda: None),
    )  # fmt: skip
    monitor.finish = partial(Monitor.finish, monitor)  # type: ignore[arg-type]
    nodes = SimpleNamespace(banned=[], dead=[], left=[])
    coordinator: Coordinator = SimpleNamespace(
        fleet=nodes, monitor=monitor, sessions=None, notices=[], last_round=2
    )  # type: ignore[assignment]
    with Terminal(2, 1) as terminal:
        assert end_coordinator.conclude(coordinator, terminal, "all 2 rounds done", 0) == 1
    said = capsys.readouterr().err
    assert said.startswith("tdml: all 2 rounds done; its results cannot be written: ")
    assert f"is damaged: put back a copy of it, or leave the run out: KeyError('{key}')" in said
