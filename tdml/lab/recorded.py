"""A fleet whose nodes answer with updates that were recorded: what is left is the coordinator's own
work."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn, TypeVar

import torch

from tdml.common.merkle import root
from tdml.data.pieces import count
from tdml.lab.laboratory import Laboratory
from tdml.protocol.names import slot_name
from tdml.protocol.orders import (
    Commitment,
    EvaluateOrder,
    Evaluation,
    RepeatOrder,
    Slot,
    TrainOrder,
    TrainReport,
)
from tdml.round.fleet import Replica
from tdml.round.job import Job
from tdml.trust.commitment import block_digests, commitment, in_blocks

_T = TypeVar("_T")
_R = TypeVar("_R", bound=Replica)
_RECORDED = 4  # updates that are told apart; more replicas answer with multiples of them
_STEP = 1e-3  # between two multiples

Blocks = list[tuple[torch.Tensor, ...]]  # of an update, by stage


def record(overrides: Sequence[str]) -> list[Blocks]:
    """The updates of some replicas that have played one round of a job, in blocks, by stage."""
    laboratory = Laboratory(
        [*overrides, f"topology.replicas={_RECORDED}", "trust.budget=0", "sync.local_steps=1"]
    )
    laboratory.play(1)
    return [
        [in_blocks(node.update) for node in replica.nodes]
        for replica in laboratory.fleet.ready(range(_RECORDED))
    ]


class RecordedReplica:
    """A replica that has done its work already: see `tdml.round.fleet.Replica`. It has no work that
    could be audited."""

    def __init__(self, index: int, stages: int, recordings: Sequence[Blocks]) -> None:
        self.index, self.kind, self._loaded, self.steps_done = index, "recorded", -1, 0
        self.names = tuple(slot_name(Slot(index, stage)) for stage in range(stages))
        self._blocks = recordings[index % len(recordings)]
        self._factor = 1 + _STEP * (index // len(recordings))
        self._digests = [
            block_digests([self.reveal("", stage, block) for block in range(len(blocks))])
            for stage, blocks in enumerate(self._blocks)
        ]

    def load(
        self,
        weights: Sequence[torch.Tensor],
        version: int,
        frozen: Sequence[Sequence[torch.Tensor]] = (),
    ) -> int:
        sent = 0 if self._loaded == version else sum(flat.nbytes for flat in weights)
        self._loaded = version
        return sent

    def train(self, order: TrainOrder, late: Callable[[], str | None]) -> TrainReport:
        return TrainReport(1.0)

    def commit(self, order: TrainOrder) -> list[Commitment]:
        return [
            Commitment(commitment(order.round, name, root(digests)), "", digests, "")
            for name, digests in zip(self.names, self._digests, strict=True)
        ]

    def reveal(self, vector: str, stage: int, block: int) -> torch.Tensor:
        """In memory of its own, as a message is."""
        return self._blocks[stage][block] * self._factor

    def evaluate(self, order: EvaluateOrder, columns: int) -> list[Evaluation]:
        samples = count(order.pieces)
        rows = torch.zeros(samples, columns, dtype=torch.float64)
        return [Evaluation(torch.ones(samples), rows, torch.empty(0))]

    def digests(self, vector: str, stage: int) -> tuple[str, ...]:
        return self._digests[stage]

    def hold(self, stage: int, block: int, tensor: torch.Tensor) -> NoReturn:
        self._refuse()

    def open(self) -> NoReturn:
        self._refuse()

    def repeat(self, order: RepeatOrder) -> NoReturn:
        self._refuse()

    def shown(self, stage: int) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise AssertionError(f"replica {self.index} has no work that could be audited")


class RecordedFleet:
    """Replicas that answer at once, each on a thread of its own, as those that are reached by RPC:
    see `tdml.round.fleet.Fleet`. Nobody is lost, nor banned."""

    def __init__(self, job: Job, recordings: Sequence[Blocks]) -> None:
        topology, self.job_id = job.config.topology, "recorded"
        self.losses: dict[int, str] = {}
        self.banned: list[str] = []
        self.pauses = 0
        self._replicas = [
            RecordedReplica(index, topology.stages, recordings)
            for index in range(topology.replicas)
        ]
        self._pool = ThreadPoolExecutor(topology.replicas)

    def muster(self) -> list[RecordedReplica]:
        return self._replicas

    def form(self, indices: Iterable[int]) -> None:
        pass

    def each(self, order: Callable[[_R], _T], replicas: Sequence[_R]) -> dict[int, _T]:
        results = self._pool.map(order, replicas)
        return {replica.index: result for replica, result in zip(replicas, results, strict=True)}

    def ready(self, indices: Iterable[int]) -> list[RecordedReplica]:
        return [self._replicas[index] for index in indices]

    def mustered(self, indices: Iterable[int]) -> list[RecordedReplica]:
        return self.ready(indices)

    def ban(self, name: str, reason: str) -> None:
        raise AssertionError(f"{name} would be banned: {reason}")

    def stand_down(self, name: str) -> bool:
        raise AssertionError(f"{name} would give its slot to another")

    def give_up(self, names: Iterable[str], reason: str) -> None:
        raise AssertionError(f"{', '.join(names)} would be given up: {reason}")

    def key(self, name: str) -> str:
        return name

    def visit(self, name: str) -> str:
        return name

    def close(self) -> None:
        """Let its threads end."""
        self._pool.shutdown()
