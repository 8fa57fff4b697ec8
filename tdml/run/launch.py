"""The ranks of a job whose nodes are all on this machine.

They are forked from this process once it has imported what they need, which takes seconds and
hundreds of megabytes: once for all of them. Nothing is computed here, for a fork loses the threads
that torch starts for that.
"""

import gc
import importlib
import io
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import FrameType

from tdml.common.environment import LAUNCHER
from tdml.errors import INTERRUPTED, complain, hush_torch, watch_warnings
from tdml.run.interruption import interrupts
from tdml.settings.schema import Config, Topology
from tdml.wire.interface import STORE_SOCKET, keep_to_this_machine

_OF_RANKS = ("tdml.run.start_coordinator", "tdml.run.start_worker", "tdml.node.pipeline")
_HOST = "127.0.0.1"
_END_S = 30.0  # that ranks may take to end in their own way

_Process = multiprocessing.context.ForkProcess


def run_ranks(config: Config) -> int:
    """Run all ranks of a job on this machine; the exit status. An interruption reaches every rank
    at once."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        for other in interrupts():
            # one is enough: while the ranks end nothing may cut that short
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt

    import_once()
    ranks: list[_Process] = []
    with handled_by(interrupt):
        try:
            _start(config, ranks)
            failed = _await(ranks)
            _end(ranks)
        except KeyboardInterrupt:
            _end(ranks)
            return INTERRUPTED
    return _status(*failed, config.topology) if failed else 0


def import_once() -> None:
    """Import what ranks need, to be shared by all that are forked from here."""
    hush_torch()
    # what is imported stays, and to look through it again and again takes a sixth of the time
    gc.disable()
    for name in _OF_RANKS:
        importlib.import_module(name)
    gc.freeze()
    gc.enable()


def threads_per_rank(topology: Topology) -> int:
    """Of each rank, so that its workers share this machine's processors, unless `OMP_NUM_THREADS`
    says otherwise."""
    return max(1, (os.cpu_count() or 1) // (topology.world_size - 1))


def leave(number: int, frame: FrameType | None) -> None:
    """End this process while it has no ranks."""
    complain(f"tdml: interrupted ({signal.Signals(number).name})")
    os._exit(INTERRUPTED)


@contextmanager
def handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Signals that end a run go to `handler`; beside the main thread, which alone is told of them,
    to whoever it has said."""
    mine = interrupts() if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, handler) for number in mine}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _start(config: Config, ranks: list[_Process]) -> None:
    """Start the ranks one by one, each added to `ranks`."""
    size = config.topology.world_size
    os.environ[LAUNCHER] = str(os.getpid())
    # A rank is told of a signal as soon as it can take one, and until all are there, this process
    # is not.
    signal.pthread_sigmask(signal.SIG_BLOCK, interrupts())
    try:
        with socket.create_server((_HOST, 0)) as store:
            job = {"MASTER_ADDR": _HOST, "MASTER_PORT": store.getsockname()[1], "WORLD_SIZE": size}
            ranks.append(_fork(config, 0, job | {STORE_SOCKET: store.fileno()}))
        # without the socket: it must be closed where the coordinator ends
        for rank in range(1, size):
            ranks.append(_fork(config, rank, job))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupts())


def _fork(config: Config, rank: int, job: dict[str, object]) -> _Process:
    """Start a rank with the variables that torchrun would give it."""
    variables = job | {"RANK": rank, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": job["WORLD_SIZE"]}
    process = _Process(
        target=_be_rank, args=(config, {name: str(value) for name, value in variables.items()})
    )
    process.start()
    return process


def _be_rank(config: Config, variables: Mapping[str, str]) -> None:
    from tdml.run.interruption import Interruption, end_with_parent
    from tdml.run.rank import leave_with, take_part

    end_with_parent()
    os.environ.update(variables)
    keep_to_this_machine()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    watch_warnings(shown=variables["LOCAL_RANK"] == "0")
    leave_with(take_part(config, Interruption()))


def _await(ranks: Sequence[_Process]) -> tuple[int, int] | None:
    """Wait until all ranks have ended well, or one has not; its number and exit status. When the
    coordinator has ended, nobody waits long for one that hangs."""
    running = {process.sentinel: rank for rank, process in enumerate(ranks)}
    seconds: float | None = None
    while running and (ended := wait(list(running), seconds)):
        for sentinel in [sentinel for sentinel in running if sentinel in ended]:
            rank = running.pop(sentinel)
            ranks[rank].join()
            if status := ranks[rank].exitcode:
                return rank, status
            if rank == 0:
                seconds = _END_S
    return None


def _end(ranks: Sequence[_Process]) -> None:
    """Have those that still run end, and kill those that do not within half a minute."""
    for process in ranks:
        process.terminate()
    deadline = time.monotonic() + _END_S
    for process in ranks:
        process.join(max(0.0, deadline - time.monotonic()))
    for process in ranks:
        process.kill()
        process.join()


def _status(rank: int, exitcode: int, topology: Topology) -> int:
    """The exit status after that of a rank. Says who was killed, which nobody else can: all others
    were ended, too."""
    from tdml.protocol.names import COORDINATOR, node_name

    if exitcode == INTERRUPTED:
        return INTERRUPTED
    if exitcode < 0:
        name = "the coordinator" if rank == COORDINATOR else node_name(rank, topology)
        number = signal.Signals(-exitcode)
        memory = "; a system that is short of memory does so" if number == signal.SIGKILL else ""
        complain(
            f"tdml: {name} was killed ({number.name}{memory}): after the first round a run goes "
            "on with resume=true"
        )
    return 1
