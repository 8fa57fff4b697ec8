"""What a run that is resumed goes on from, and whom the coordinator waits for before it begins."""

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tdml.config import load
from tdml.errors import SettingError
from tdml.round.checkpoint import save
from tdml.run import start_coordinator
from tdml.run.end_coordinator import interrupted
from tdml.run.start_coordinator import _last_checkpoint, _waiting
from tests.round.test_checkpoint import CHECKPOINT


def test_a_run_that_has_done_more_rounds_than_it_is_to_have_is_not_resumed(tmp_path: Path) -> None:
    save(replace(CHECKPOINT, round=14), tmp_path, memory=0)
    assert _last_checkpoint(load(["rounds=5"]), tmp_path) is None
    for rounds in (14, 15):
        found = _last_checkpoint(load([f"rounds={rounds}", "resume=true"]), tmp_path)
        assert found is not None
        assert found.round == 14
    with pytest.raises(
        SettingError,
        match=r"^rounds=5, but run_dir=.* has done 14 already: give rounds=14 or more$",
    ):
        _last_checkpoint(load(["rounds=5", "resume=true"]), tmp_path)


def test_before_the_job_begins_the_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once in the live line; where there is none, once it takes long."""
    seconds = itertools.count(0, 3)
    monkeypatch.setattr(start_coordinator.time, "monotonic", lambda: float(next(seconds)))
    live: list[str] = []
    lines: list[str] = []

    terminal = SimpleNamespace(status=lambda text: live.append(text()), waiting=lines.append)
    topology = load(["topology.replicas=2", "topology.stages=1", "topology.spares=1"]).topology
    waiting = _waiting(terminal, topology, ranks=4)
    for missing in ({1, 2, 3}, {2, 3}, {3}, set()):
        waiting(missing)
    assert live[:3] == [
        "waiting for 3 of 3 nodes: r0.s0, r1.s0, spare0",
        "waiting for 2 of 3 nodes: r1.s0, spare0",
        "waiting for 1 of 3 nodes: spare0",
    ]
    assert lines == live[1:]


def test_an_interrupted_run_says_what_to_do_next() -> None:
    assert interrupted(7, "go on") == "interrupted after round 7: go on"
    assert interrupted(0, "go on") == "interrupted before the first round was done: go on"
