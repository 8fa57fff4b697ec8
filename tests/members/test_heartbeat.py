"""A coordinator whose process is stopped is known by its silence."""

import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch.distributed as dist

from tdml.members import heartbeat as module
from tdml.members.heartbeat import Heartbeat, beat
from tests.jobs import free_port

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def store() -> dist.TCPStore:
    wait = timedelta(seconds=20)
    return dist.TCPStore(
        "127.0.0.1", free_port(), is_master=True, wait_for_workers=False, timeout=wait
    )


def test_who_has_not_beaten_for_long_has_stopped(store: dist.TCPStore) -> None:
    start, heartbeat = time.monotonic(), Heartbeat(limit=0.5)
    while not heartbeat.has_stopped(store):
        assert time.monotonic() - start < 30
    assert time.monotonic() - start >= 0.5
    assert "no sign of life for 0.5 s" in heartbeat.in_words()


def test_who_beats_has_not(store: dist.TCPStore) -> None:
    beat(store)
    heartbeat, start = Heartbeat(limit=20), time.monotonic()
    while not store.check(["beats"]) or int(store.get("beats")) < 3:
        assert not heartbeat.has_stopped(store)
        assert time.monotonic() - start < 15


def test_a_beat_is_heard_however_late_it_comes(store: dist.TCPStore) -> None:
    heartbeat = Heartbeat(limit=0.0)
    assert heartbeat.has_stopped(store)
    store.set("beats", "1")
    heartbeat.limit = 20
    assert not heartbeat.has_stopped(store)


def test_while_this_process_is_stopped_itself_nobody_is_silent(
    store: dist.TCPStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-Z and fg, or a scheduler that suspends jobs: who looks first finds the old beat."""
    seconds = 0.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: seconds))
    heartbeat = Heartbeat(limit=20)
    store.set("beats", "1")
    assert not heartbeat.has_stopped(store)
    seconds += 1000
    assert not heartbeat.has_stopped(store)
    while not heartbeat.has_stopped(store):
        seconds += 0.2
        assert seconds < 1030
    assert seconds > 1018


@pytest.mark.parametrize("said", ["abc", "", "9" * 30, b"\xff"])
def test_what_somebody_else_writes_stops_no_heart(store: dist.TCPStore, said: str | bytes) -> None:
    beat(store)
    heartbeat, start = Heartbeat(limit=20), time.monotonic()
    store.set("beats", said)
    assert not heartbeat.has_stopped(store)
    while store.get("beats") == (said if isinstance(said, bytes) else said.encode()):
        assert time.monotonic() - start < 15
    assert not heartbeat.has_stopped(store)


class _CutOff:
    """A store whose connections are lost, one after the other; the fourth holds. Between the
    second and the third there is none to be had."""

    def __init__(self) -> None:
        self.connections, self.beats = 0, 0

    def set(self, key: str, value: str) -> None:
        if self.connections < 4:
            raise dist.DistNetworkError("lost")
        self.beats += 1
        if self.beats == 3:
            raise SystemExit  # the process ends

    def clone(self) -> "_CutOff":
        self.connections += 1
        if self.connections == 3:
            raise dist.DistNetworkError("nobody listens")
        return self


def test_a_heart_whose_connection_is_lost_goes_on_with_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)
    store = _CutOff()
    with pytest.raises(SystemExit):
        module._beat(store)
    assert (store.connections, store.beats) == (4, 3)
