"""The RPC of a session: formed, and left again, any number of times in a process's life.

It is a star: the coordinator calls workers, and they call nobody. So whoever does not come is
missing to nobody else. torch forms such a group by `TensorPipeAgent` itself, without the barrier of
`init_rpc`, which waits for all.
"""

import contextlib
import os
import resource
import socket
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch.distributed as dist
from torch.distributed import autograd, rpc
from torch.distributed.rpc import TensorPipeAgent, WorkerInfo, api

from tdml.errors import SettingError, one_line
from tdml.protocol.names import COORDINATOR, rpc_name
from tdml.wire.interface import loopback

_THREADS = 16
_LONGEST = 200  # characters of torch's own words
_STORE_S = 10.0  # for an answer of the store
_POLL_S = 0.01
_FILES, _OTHER_FILES = 4, 200  # that the coordinator opens for a member, and for all else
_MOST_FILES = 2**20
_prepared = False
_host = ""  # at which this process was first called: torch never looks for another

OPEN_THE_WAY = (
    "let no firewall stand between the machines, and set GLOO_SOCKET_IFNAME and TP_SOCKET_IFNAME "
    "on each of them to the interface that leads to the others"
)


class NotFormed(SettingError):
    """A session cannot be formed; the message says what to do."""


@dataclass(frozen=True)
class Addresses:
    """At which members of a session can be called: `told` in the job's store, and `known` to this
    process."""

    told: dist.Store
    known: dist.Store


def room_for_members() -> int:
    """Allow this process as many files as it may have, within reason. Returns how many members a
    session can have then: where there are no more files, torch aborts the process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = max(soft, min(hard, _MOST_FILES) if hard != resource.RLIM_INFINITY else _MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(0, allowed - _OTHER_FILES) // _FILES


def form_rpc(store: dist.Store, session: str, rank: int, timeout: float) -> Addresses:
    """Be the `rank`-th member of a session. From here on the coordinator can call this process: its
    guard must be installed.

    Args:
        store: of the whole job.
        timeout: seconds for an answer, unless a call says otherwise.

    Raises:
        NotFormed: this machine has no address at which it can be reached.
        SettingError: it has another address than when this process began.
        DistError: the store is gone.
    """
    _prepare()
    _check_host()
    if rank == COORDINATOR and (interface := loopback()) is not None:
        # nobody calls it: what strangers would send there could end it before anything looks
        os.environ["TP_SOCKET_IFNAME"] = interface
    # TCP alone: the shared-memory transport is slower here and fails with many ranks on one host.
    options = rpc.TensorPipeRpcBackendOptions(
        num_worker_threads=_THREADS, rpc_timeout=timeout, _transports=["uv"]
    )
    # a connection of its own: what waits in it must not hold up who else uses the store
    own = store.clone()  # type: ignore[attr-defined]
    own.set_timeout(timedelta(seconds=_STORE_S))
    told = dist.PrefixStore(f"rpc/{session}", own)
    # In a store that it shared torch would wait for the address of everybody whose name it finds,
    # also of who has died before telling it.
    known = dist.HashStore()
    try:
        agent = TensorPipeAgent(known, rpc_name(rank), rank, None, options, {}, [])
        api._init_rpc_states(agent)
        _keep_host(known.get(_address(rank)).decode())
        _tell(rank, known, told)
    except dist.DistError:
        leave_rpc()
        raise
    except RuntimeError as error:
        leave_rpc()
        raise NotFormed(
            f"RPC cannot be started ({one_line(error)[:_LONGEST]}): {OPEN_THE_WAY}"
        ) from error
    return Addresses(told, known)


def meet(addresses: Addresses, ranks: Iterable[int], seconds: float) -> Collection[int]:
    """The coordinator meets the members of the session that it is in.

    Args:
        addresses: what `form_rpc` has returned.
        ranks: whom it waits for, at most that many seconds.

    Returns those that have come.
    """
    agent, awaited, came = api._get_current_rpc_agent(), set(ranks) - {COORDINATOR}, set()
    deadline = time.monotonic() + seconds
    while awaited and time.monotonic() < deadline:
        for rank in [rank for rank in awaited if addresses.told.check([_address(rank)])]:
            awaited.remove(rank)
            _tell(rank, addresses.told, addresses.known)
            agent._update_group_membership(  # type: ignore[attr-defined]
                WorkerInfo(rpc_name(rank), rank), [], {}, True
            )
            came.add(rank)
        time.sleep(_POLL_S)
    return came


def _address(rank: int) -> str:
    """Where torch writes a member's address."""
    return f"addrs/{rpc_name(rank)}"


def _tell(rank: int, source: dist.Store, target: dist.Store) -> None:
    target.set(_address(rank), source.get(_address(rank)).decode(errors="replace"))


def leave_rpc() -> None:
    """Leave the session's RPC, if there is one. Calls that are under way fail on both sides."""
    if rpc._is_current_rpc_agent_set():
        with contextlib.suppress(RuntimeError):
            rpc.shutdown(graceful=False)


def _keep_host(address: str) -> None:
    global _host  # noqa: PLW0603
    _host = address.rpartition(":")[0].removeprefix("uv://").strip("[]")


def _check_host() -> None:
    """Where the address is gone torch would abort the process."""
    family = socket.AF_INET6 if ":" in _host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.bind((_host, 0))
    except OSError as error:
        raise SettingError(
            f"this machine had the address {_host} when this process began, and has it no longer "
            f"({one_line(error)}): start it again, by its key it has the same name"
        ) from error


def _prepare() -> None:
    """What torch does once in a process's life, and refuses to do again for another rank."""
    global _prepared  # noqa: PLW0603
    if not _prepared:
        autograd._init(0)
        _prepared = True
