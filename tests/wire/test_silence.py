"""What is done about networks that are cut. That it helps, tests/test_hosts_job.py shows."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
import torch.distributed as dist

from tdml.wire.silence import give_up_silent, reach
from tests.jobs import free_port

pytestmark = pytest.mark.timeout(60)


def test_who_begins_to_listen_is_reached() -> None:
    port = free_port()

    def listen() -> None:
        assert not reached.is_set()
        listener.listen()

    reached = threading.Event()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        timer = threading.Timer(1.0, listen)
        timer.start()
        assert 0 < reach("127.0.0.1", port, 30) < 29.5
        reached.set()
        timer.join()


def test_where_nobody_listens_the_waiting_ends() -> None:
    start = time.monotonic()
    assert reach("127.0.0.1", free_port(), 1.0) == 0.0
    assert time.monotonic() - start >= 1.0


def test_connections_of_torch_are_given_up_and_no_others() -> None:
    port = free_port()
    place = "127.0.0.1", port
    wait = timedelta(seconds=20)
    store = dist.TCPStore(*place, is_master=True, wait_for_workers=False, timeout=wait)
    other = dist.TCPStore(*place, is_master=False, wait_for_workers=False, timeout=wait)
    with socket.create_server(("127.0.0.1", 0)) as server:
        stranger = socket.create_connection(server.getsockname())
        give_up_silent(port, 20)
        assert stranger.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0
        stranger.close()
    assert list(_bounds(port)) == [(20_000, 1, 5, 5)] * 2
    other.set("still", "there")
    assert store.get("still") == b"there"


def _bounds(port: int) -> Iterator[tuple[int, ...]]:
    """Of this process's connections to a port."""
    tcp = socket.IPPROTO_TCP
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(number))) as own:
            if own.getpeername()[1] == port:
                yield (
                    own.getsockopt(tcp, socket.TCP_USER_TIMEOUT),
                    own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                    own.getsockopt(tcp, socket.TCP_KEEPIDLE),
                    own.getsockopt(tcp, socket.TCP_KEEPINTVL),
                )


def test_no_file_stays_open_for_it() -> None:
    with open(os.devnull) as _:  # no socket
        before = _open_files()
        give_up_silent(free_port(), 20)
        assert _open_files() <= before


def _open_files() -> set[tuple[str, str]]:
    """By number and name. Others may be closed meanwhile: what earlier tests have left is
    collected at any time."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the list's own
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return found


def test_who_accepts_and_does_not_answer_is_given_up() -> None:
    """As a stopped process does: its kernel acknowledges all that is sent to it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as guest,
    ):
        give_up_silent(server.getsockname()[1], 0.25)
        guest.sendall(b"question")
        with pytest.raises(BlockingIOError):
            guest.recv(1)
