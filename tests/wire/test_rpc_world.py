"""Forming the RPC of a session."""

import os
import resource
import time
from datetime import timedelta
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest
import torch
import torch.distributed as dist
from torch.distributed import rpc
from torch.distributed.rpc import TensorPipeAgent

from tdml.errors import SettingError
from tdml.wire import rpc_world
from tests.jobs import forked

pytestmark = pytest.mark.timeout(60)
_SESSIONS = [{1, 2, 3}, {2, 3}, {1, 3}, {1, 2, 3}]


def test_a_machine_without_an_address_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such interface:\n" + "x" * 10_000)

    monkeypatch.setattr(rpc_world, "TensorPipeAgent", fail)
    monkeypatch.setattr(rpc_world, "_prepared", True)
    store = dist.TCPStore("127.0.0.1", 0, is_master=True)
    with pytest.raises(
        rpc_world.NotFormed, match=r"no such interface.*GLOO_SOCKET_IFNAME"
    ) as caught:
        rpc_world.form_rpc(store, "session", 2, 10)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(("rank", "interface"), [(0, "lo"), (2, "eth7")])
def test_no_other_machine_calls_the_coordinator(
    monkeypatch: pytest.MonkeyPatch, rank: int, interface: str
) -> None:
    """What strangers send to it could end it before anything looks."""

    def look(*_: object, **__: object) -> None:
        raise RuntimeError(f"at {os.environ['TP_SOCKET_IFNAME']}")

    monkeypatch.setenv("TP_SOCKET_IFNAME", "eth7")
    monkeypatch.setattr(rpc_world, "TensorPipeAgent", look)
    monkeypatch.setattr(rpc_world, "_prepared", True)
    store = dist.TCPStore("127.0.0.1", 0, is_master=True)
    with pytest.raises(rpc_world.NotFormed, match=f"at {interface}"):
        rpc_world.form_rpc(store, "session", rank, 10)


def test_a_machine_that_has_another_address_by_now_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch keeps the first for good, and would abort the process."""
    monkeypatch.setattr(rpc_world, "_prepared", True)
    monkeypatch.setattr(rpc_world, "_host", "")
    rpc_world._keep_host("uv://192.0.2.77:4711")  # an address that is nobody's
    store = dist.TCPStore("127.0.0.1", 0, is_master=True)
    with pytest.raises(SettingError, match=r"had the address 192\.0\.2\.77 .* start it again"):
        rpc_world.form_rpc(store, "session", 2, 10)


def test_who_does_not_come_is_missing_to_nobody_and_may_come_to_the_next_session() -> None:
    """In processes of their own: a guard of this one would be in the way."""
    here, there = Pipe()
    coordinator = forked(_coordinate, there)
    port = here.recv()
    workers = [forked(_work, port, rank) for rank in (1, 2, 3)]
    for expected in _SESSIONS:
        came, answers, seconds = here.recv()
        assert came == expected
        assert answers == [2.0 * rank for rank in sorted(expected)]
        assert seconds < 20
    for process in (coordinator, *workers):
        process.join(20)
        assert process.exitcode == 0


def test_a_session_has_no_more_members_than_this_process_has_files_for() -> None:
    """Where they run out torch aborts it."""
    process = forked(_with_few_files)
    process.join(20)
    assert process.exitcode == 0


def _with_few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, 1000))
    assert rpc_world.room_for_members() == 200
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (1000, 1000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
    assert rpc_world.room_for_members() == 0
    os._exit(0)


def _store(port: int, is_master: bool) -> dist.TCPStore:
    return dist.TCPStore(
        "127.0.0.1",
        port,
        is_master=is_master,
        wait_for_workers=False,
        timeout=timedelta(seconds=40),
    )


def _coordinate(pipe: Connection) -> None:
    store = _store(0, is_master=True)
    pipe.send(store.port)
    for number, expected in enumerate(_SESSIONS):
        store.set(f"open{number}", "")
        for rank in {1, 2, 3} - expected:
            store.get(f"gone{number}/{rank}")
        store.set(f"go{number}", "")
        addresses = rpc_world.form_rpc(store, f"{number}", 0, 20)
        rpc_world.meet(addresses, expected, 20)  # those that do not come are waited for shortly
        start = time.monotonic()
        came = {*expected, *rpc_world.meet(addresses, {1, 2, 3} - expected, 0.2)}
        calls = [rpc.rpc_async(f"rank{rank}", _double, args=(rank,)) for rank in sorted(came)]
        pipe.send((came, [call.wait() for call in calls], time.monotonic() - start))
        store.set(f"done{number}", "")
        rpc_world.leave_rpc()
    for rank in (1, 2, 3):  # the store ends with this process
        store.get(f"over/{rank}")
    os._exit(0)


def _work(port: int, rank: int) -> None:
    store = _store(port, is_master=False)
    for number, expected in enumerate(_SESSIONS):
        store.get(f"open{number}")
        if rank not in expected:
            _die_half_way(store, number, rank)
            store.set(f"gone{number}/{rank}", "")
        store.get(f"go{number}")
        if rank in expected:
            rpc_world.form_rpc(store, f"{number}", rank, 20)
            store.get(f"done{number}")
            rpc_world.leave_rpc()
    store.set(f"over/{rank}", "")
    os._exit(0)


def _die_half_way(store: dist.Store, number: int, rank: int) -> None:
    """Leave what a member leaves in the session's part of the store that torch has given its name
    there, and that is killed before it has an address."""
    options = rpc.TensorPipeRpcBackendOptions(_transports=["uv"])
    part = dist.PrefixStore(f"rpc/{number}", store)
    rpc_world._prepare()
    agent = TensorPipeAgent(part, f"rank{rank}", rank, None, options, {}, [])
    part.delete_key(f"addrs/rank{rank}")
    agent.shutdown()


def _double(number: int) -> float:
    return float(torch.tensor(2.0 * number))
