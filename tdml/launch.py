"""torchrun's agent for the ranks of one machine.

What it takes from the environment for a job of many machines (`PET_…`, as operators of Kubernetes set it) is not meant
for a job of one: `torchrun` obeys it, this does not.
"""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from tdml.cluster.interruption import LAUNCHER, interrupts
from tdml.config import Topology
from tdml.errors import INTERRUPTED

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure


def run_ranks(topology: Topology, arguments: Sequence[str]) -> int:
    """Run all ranks of a job on this machine, each with these arguments; the exit status. An interruption reaches every
    rank at once."""
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    def interrupt(number: int, frame: FrameType | None) -> None:
        for other in interrupts():
            signal.signal(other, signal.SIG_IGN)  # one is enough: while the ranks end nothing may cut that short
        raise SignalException(f"got {signal.Signals(number).name}", signal.Signals(number))

    # The ranks say themselves what went wrong; torchrun would add a page of its own.
    logging.disable(logging.ERROR)
    os.environ[LAUNCHER] = str(os.getpid())
    agent = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=topology.world_size, run_id=str(uuid.uuid4()), rdzv_backend="c10d",
        rdzv_endpoint="localhost:0", max_restarts=0, signals_to_handle="SIGQUIT",
    )  # fmt: skip
    try:
        with handled_by(interrupt):
            elastic_launch(agent, sys.executable)("-u", "-m", "tdml", *arguments)
    except SignalException:
        return INTERRUPTED
    except ChildFailedError as error:
        return _status(*error.get_first_failure(), topology)
    return 0


def leave(number: int, frame: FrameType | None) -> None:
    """End this process while it has no ranks."""
    _say(f"interrupted ({signal.Signals(number).name})")
    os._exit(INTERRUPTED)


@contextmanager
def handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Signals that end a run go to `handler`."""
    before = {number: signal.signal(number, handler) for number in interrupts()}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _status(rank: int, failure: "ProcessFailure", topology: Topology) -> int:
    """The exit status after that of a rank. Says who was killed, which nobody else can: all others were ended, too."""
    from tdml.cluster.topology import COORDINATOR, node_name

    if failure.exitcode == INTERRUPTED:
        return INTERRUPTED
    if failure.exitcode < 0:
        name = "the coordinator" if rank == COORDINATOR else node_name(rank, topology)
        text = f"{name} was killed ({failure.signal_name()}; a system that is short of memory does so)"
        _say(f"{text}: after the first round a run goes on with resume=true")
    return 1


def _say(text: str) -> None:
    print(f"tdml: {text}", file=sys.stderr, flush=True)
