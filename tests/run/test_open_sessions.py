"""Whom the coordinator waits for before the job begins."""

import itertools
from types import SimpleNamespace

import pytest

from tdml.config import load
from tdml.errors import SettingError
from tdml.run import open_sessions
from tdml.run.open_sessions import _waiting


def test_before_the_job_begins_the_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once in the live line; where there is none, once it takes long."""
    seconds = itertools.count(0, 3)
    monkeypatch.setattr(open_sessions.time, "monotonic", lambda: float(next(seconds)))
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


def test_a_job_of_more_ranks_than_files_allow_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_sessions, "room_for_members", lambda: 4)
    monkeypatch.setattr(open_sessions, "_card", lambda *_: None)
    config = load(["topology.replicas=2", "topology.stages=2", "topology.spares=1", "data=digits"])
    job = SimpleNamespace(
        config=config,
        source=None,
        plan=SimpleNamespace(borders=[SimpleNamespace(shape=())]),
        shares=[],
    )
    with pytest.raises(SettingError, match=r"^topology has 6 ranks, .* can be 4: .*ulimit -Hn"):
        open_sessions.open_sessions(config, job, "job", None, None, None, None, frozenset(), {})
