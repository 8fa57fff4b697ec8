"""The RPC of a session: formed, and left again, any number of times in a process's life."""

import contextlib
import warnings
from collections.abc import Iterator
from datetime import timedelta

import torch.distributed as dist
from torch.distributed import autograd, rpc
from torch.distributed.rpc import constants

from tdml.cluster.topology import address
from tdml.errors import one_line

_THREADS = 16
_LONGEST = 200  # characters of torch's own words
_MEET_S = 30.0  # that members may take to meet: all have just said that they are there
_prepared = False


class NotFormed(Exception):
    """The members of a session have not met; the message says what to do."""


def form_rpc(store: dist.Store, session: str, rank: int, members: int, timeout: float) -> None:
    """Join the RPC of a session as its `rank`-th member. From here on the others can call this
    process: its guard must be installed. After a failure another session can be formed.

    Args:
        store: of the whole job.
        timeout: seconds for an answer, unless a call says otherwise.

    Raises:
        NotFormed: the members cannot reach one another, or one of them has ended.
    """
    _prepare()
    # TCP alone: the shared-memory transport is slower here and fails with many ranks on one host.
    options = rpc.TensorPipeRpcBackendOptions(
        num_worker_threads=_THREADS, rpc_timeout=timeout, _transports=["uv"]
    )
    # a connection of its own: what waits in it must not hold up who else uses the store
    own = store.clone()  # type: ignore[attr-defined]
    shared = dist.PrefixStore(f"rpc/{session}", own)
    try:
        with _in_silence():
            rpc._init_rpc_backend(
                rpc.BackendType.TENSORPIPE,  # type: ignore[attr-defined]
                shared,
                address(rank),
                rank,
                members,
                options,
            )
    except (RuntimeError, dist.DistError) as error:
        leave_rpc()
        raise NotFormed(
            "the members of the session cannot reach one another, or one of them has ended "
            f"({one_line(error)[:_LONGEST]}): let no firewall stand between the machines, and "
            "set GLOO_SOCKET_IFNAME and TP_SOCKET_IFNAME on each of them to the interface that "
            "leads to the others"
        ) from error


def leave_rpc() -> None:
    """Leave the session's RPC, if there is one. Calls that are under way fail on both sides."""
    if rpc._is_current_rpc_agent_set():
        with contextlib.suppress(RuntimeError):
            rpc.shutdown(graceful=False)


def _prepare() -> None:
    """What torch does once in a process's life, and refuses to do again for another rank."""
    global _prepared  # noqa: PLW0603
    if not _prepared:
        autograd._init(0)
        constants.DEFAULT_PROCESS_GROUP_TIMEOUT = timedelta(seconds=_MEET_S)  # 24 days otherwise
        _prepared = True


@contextlib.contextmanager
def _in_silence() -> Iterator[None]:
    """torch warns of a call that it makes itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using a Backend")
        yield
