"""The least that a round's phases could take on this machine: what moves, moved by RPC alone; what
is averaged, read once. And what it costs a node to be auditable."""

import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing
from torch.distributed import rpc

from tdml.common.environment import MEMORY
from tdml.lab.fleet import LocalFleet
from tdml.models import whole
from tdml.protocol.identity import Identity
from tdml.protocol.names import node_names
from tdml.protocol.orders import TrainOrder
from tdml.round.job import Job
from tdml.run.launch import threads_per_rank
from tdml.settings.schema import Topology

_TURNS = 5
_TRAINED = 3  # turns of a round with and of one without a record
_vector = torch.empty(0)  # what a node holds, in its process


def floors(job: Job) -> dict[str, float]:
    """Seconds, by phase: to send all nodes their weights and to fetch their updates, as one flat
    tensor each, and to read all updates once, with as many threads as the coordinator has."""
    sizes = [layout.size for layout in job.layouts] * job.config.topology.replicas
    updates = [torch.ones(size) for size in sizes]
    with threads_of_a_rank(job.config.topology):
        read = _median(lambda: [update.sum() for update in updates])
    return transfer(sizes) | {"aggregate": read}


@contextmanager
def threads_of_a_rank(topology: Topology) -> Iterator[None]:
    """As many as in a job."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", threads_per_rank(topology))))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def transfer(sizes: Sequence[int]) -> dict[str, float]:
    """The same by RPC between processes without TDML's settings of memory, with a node for each of
    the flat tensors' sizes."""
    queue = multiprocessing.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        arguments = (list(sizes), f"file://{Path(folder) / 'store'}", queue)
        with _memory_of_others():
            multiprocessing.spawn(_take_part, arguments, nprocs=len(sizes) + 1)
    return queue.get()


@contextmanager
def _memory_of_others() -> Iterator[None]:
    """Processes that begin here deal with memory as a program does that sets nothing: with
    TDML's settings they keep it, some runs from the first messages on and some never, which is ten
    times faster or not."""
    kept = {name: os.environ.pop(name) for name in MEMORY if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def cost_of_records(job: Job) -> float:
    """By how much more processor time a replica's round takes where states and messages are kept
    for audits, as a share; in this process."""
    identities = {name: Identity.new() for name in node_names(job.config.topology)}
    replica = LocalFleet(job, "records", identities).muster()[0]
    replica.load(whole.flatten(job.model, job.layouts), 1, job.frozen)
    spent: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(2 * _TRAINED + 1):
        keeps = turn % 2 == 0
        bounds = job.window_bounds(job.steps[0]) if keeps else ()
        start = time.process_time()
        replica.train(TrainOrder(1, job.longest, job.batches(0, 1), "", bounds, ()), lambda: None)
        if turn:  # the first warms up
            spent[keeps].append(time.process_time() - start)
    return statistics.median(spent[True]) / statistics.median(spent[False]) - 1


def _take_part(rank: int, sizes: list[int], store: str, queue: Any) -> None:
    """Be the coordinator, or a node."""
    global _vector  # noqa: PLW0603
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of torch's about its own calls
    if rank:
        _vector = torch.ones(sizes[rank - 1])
    options = rpc.TensorPipeRpcBackendOptions(init_method=store, _transports=["uv"])
    rpc.init_rpc(f"{rank}", rank=rank, world_size=len(sizes) + 1, rpc_backend_options=options)
    if not rank:
        nodes, weights = range(1, len(sizes) + 1), [torch.ones(size) for size in sizes]
        seconds = {
            "broadcast": _median(
                lambda: _all(
                    rpc.rpc_async(f"{n}", _put, (weight,))
                    for n, weight in zip(nodes, weights, strict=True)
                )
            ),
            "gather": _median(lambda: _all(rpc.rpc_async(f"{n}", _get) for n in nodes)),
        }
        queue.put(seconds)
    rpc.shutdown()


def _get() -> torch.Tensor:
    return _vector


def _put(vector: torch.Tensor) -> None:
    global _vector  # noqa: PLW0603
    _vector = vector


def _all(futures: Any) -> list:
    return torch.futures.wait_all(list(futures))


def _median(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_TURNS + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])
