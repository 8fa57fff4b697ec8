"""A connection to the job's store, or an error: no waiting without an end."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import torch.distributed as dist

from tdml.members import store as stores
from tests.jobs import free_port

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    port = free_port()
    monkeypatch.setattr(stores, "_MARGIN_S", 0.5)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))
    yield port


def test_both_sides_meet() -> None:
    host = stores.connect(is_coordinator=True, timeout=20)
    guest = stores.connect(is_coordinator=False, timeout=20)
    host.set("a", "b")
    assert guest.get("a") == b"b"


def test_where_somebody_listens_and_is_silent_the_waiting_ends(port: int) -> None:
    """A stopped process: its kernel accepts connections for it."""
    start, before = time.monotonic(), threading.enumerate()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(dist.DistError):
        stores.connect(is_coordinator=False, timeout=1)
    assert time.monotonic() - start < 30
    for thread in set(threading.enumerate()) - set(before):
        thread.join(30)  # in torch when Python ends it would take the process down with it


def test_where_nobody_listens_it_ends() -> None:
    with pytest.raises(dist.DistError):
        stores.connect(is_coordinator=False, timeout=1)
