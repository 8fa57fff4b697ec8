"""The job's store, and who meets there."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed as dist

from tdml.members import heartbeat
from tdml.members.rendezvous import Rendezvous
from tests.jobs import free_port


class _Over(Exception):
    """The test is."""


class _Lent:
    """A store, until a test is over."""

    def __init__(self, store: dist.Store, over: threading.Event) -> None:
        self._store, self._over = store, over

    def set(self, key: str, value: str) -> None:
        """As the store does."""
        if self._over.is_set():
            raise _Over
        self._store.set(key, value)

    def clone(self) -> "_Lent":
        """Another connection."""
        return _Lent(self._store.clone(), self._over)


@pytest.fixture(autouse=True)
def stop_hearts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """They beat as long as their process lives; here as long as their test does, or until this is
    called. Each would look for its store, which is gone, while all other tests run; and who is in
    torch when Python ends takes the process down with it."""
    over, beats, threads = threading.Event(), heartbeat._beat, []

    def beat(store: dist.Store) -> None:
        with suppress(_Over):
            beats(_Lent(store, over))

    def start(**how: Any) -> threading.Thread:
        threads.append(threading.Thread(**how))
        return threads[-1]

    def stop() -> None:
        over.set()
        for thread in threads:
            thread.join(10)

    monkeypatch.setattr(heartbeat, "_beat", beat)
    monkeypatch.setattr(heartbeat, "threading", SimpleNamespace(Thread=start))
    pausing = SimpleNamespace(monotonic=time.monotonic, sleep=over.wait)
    monkeypatch.setattr(heartbeat, "time", pausing)
    yield stop
    stop()


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch, stop_hearts: Callable[[], None]):
    """The coordinator, and who comes after it, at one store."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    for variable in [name for name in os.environ if name.startswith("TORCHELASTIC")]:
        monkeypatch.delenv(variable)
    yield Rendezvous(0, 2), lambda rank=1: Rendezvous(rank, 2)
    stop_hearts()  # while it has its store
