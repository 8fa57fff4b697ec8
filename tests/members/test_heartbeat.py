"""A coordinator whose process is stopped is known by its silence."""

import time
from datetime import timedelta

import pytest
import torch.distributed as dist

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
    while store.add("beats", 0) < 3:
        assert not heartbeat.has_stopped(store)
        assert time.monotonic() - start < 15


def test_a_beat_is_heard_however_late_it_comes(store: dist.TCPStore) -> None:
    heartbeat = Heartbeat(limit=0.0)
    assert heartbeat.has_stopped(store)
    store.add("beats", 1)
    heartbeat.limit = 20
    assert not heartbeat.has_stopped(store)
