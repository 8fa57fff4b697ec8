"""A fleet in this process, for the laboratory: replicas are objects, and nobody is ever late."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TypeVar

import torch

from tdml.attacks.base import attackers
from tdml.attacks.node import make_node
from tdml.data.source import Source
from tdml.errors import one_line, running_on
from tdml.members.placement import exchanges
from tdml.node.devices import machine_kind
from tdml.node.in_process import InProcessPipeline
from tdml.node.node import Node
from tdml.node.stage import Stage
from tdml.node.trace import Opening
from tdml.protocol.identity import Identity
from tdml.protocol.names import slot_name
from tdml.protocol.orders import (
    Commitment,
    EvaluateOrder,
    Evaluation,
    RepeatOrder,
    Repetition,
    ReplicaLost,
    Shown,
    Slot,
    TrainOrder,
    TrainReport,
)
from tdml.round.fleet import Replica
from tdml.round.job import Job

_T = TypeVar("_T")
_R = TypeVar("_R", bound=Replica)
_HOST = torch.device("cpu")


class LocalReplica:
    """A replica whose nodes are objects: see `tdml.round.fleet.Replica`."""

    def __init__(self, index: int, nodes: Sequence[Node]) -> None:
        self.index, self.kind, self.loaded = index, machine_kind(_HOST), -1
        self.steps_done = 0  # nobody asks for it: nobody is late
        self.nodes, self.names = list(nodes), tuple(node.name for node in nodes)
        self._pipeline = InProcessPipeline(nodes)
        self.whole = True  # whether they can do something together: not where one has failed

    def load(
        self,
        weights: Sequence[torch.Tensor],
        version: int,
        frozen: Sequence[Sequence[torch.Tensor]] = (),
    ) -> int:
        if version == self.loaded:
            return 0
        for node, flat in zip(self.nodes, weights, strict=True):
            node.load(flat)
        for node, values in zip(self.nodes, frozen, strict=False):
            node.stage.freeze(values)
        self.loaded = version
        return sum(flat.nbytes for flat in weights)

    def train(self, order: TrainOrder, late: Callable[[], str | None]) -> TrainReport:
        return self._do(lambda: self._pipeline.train(order))[-1]

    def commit(self, order: TrainOrder) -> list[Commitment]:
        return self._do(lambda: [node.commit(order.round) for node in self.nodes])

    def digests(self, vector: str, stage: int) -> tuple[str, ...]:
        return self.nodes[stage].digests(vector)

    def reveal(self, vector: str, stage: int, block: int) -> torch.Tensor:
        return self.nodes[stage].reveal(vector, block)

    def hold(self, stage: int, block: int, tensor: torch.Tensor) -> None:
        self.nodes[stage].hold(block, tensor)

    def open(self) -> list[Opening]:
        return [self._do(node.open, [node.name]) for node in self.nodes]

    def repeat(self, order: RepeatOrder) -> list[Repetition]:
        return self._do(lambda: self._pipeline.repeat(order))

    def shown(self, stage: int) -> Shown:
        return self.nodes[stage].shown()

    def evaluate(self, order: EvaluateOrder, columns: int) -> list[Evaluation]:
        return self._do(lambda: self._pipeline.evaluate(order))

    def _do(self, work: Callable[[], _T], alone: Sequence[str] = ()) -> _T:
        """What a node raises, whatever it is, loses the replica, as it does where nodes are
        processes. `alone`: the name of the one that works by itself."""
        if not self.whole and not alone:
            raise ReplicaLost(self.index, "its nodes do nothing together any more")
        try:
            with running_on():
                return work()
        except Exception as error:
            self.whole &= bool(alone)
            text = f"{type(error).__name__}: {one_line(error)}"
            raise ReplicaLost(self.index, text, alone) from error


class LocalFleet:
    """All replicas of a job in one process: see `tdml.round.fleet.Fleet`. Banned nodes leave their
    slots vacant unless there are spares."""

    def __init__(self, job: Job, job_id: str, identities: dict[str, Identity]) -> None:
        self.job_id = job_id
        self.losses: dict[int, str] = {}
        self.banned: list[str] = []
        self.pauses = 0
        topology = job.config.topology
        self._stages = [
            Stage(job.config, s, job.plan, _HOST, _HOST) for s in range(topology.stages)
        ]
        self._attacking = attackers(job.config.attack, topology.stages)
        tap: dict[str, bytes] = {}
        source = Remembered.of(job.source)
        self._keys = {name: identity.public for name, identity in identities.items()}
        self.nodes = {
            name: make_node(job.config, name, identities[name], job_id, source, tap)
            for name in identities
        }
        self._slots = {
            Slot(replica, stage): slot_name(Slot(replica, stage))
            for replica in range(topology.replicas)
            for stage in range(topology.stages)
        }
        placed = set(self._slots.values())
        self._moves = not job.config.own_data  # where nodes hold their data
        self._spares = [name for name in self.nodes if name not in placed]
        self._formed: dict[int, LocalReplica] = {}
        self._mustered: dict[int, LocalReplica] = {}  # for the round, even if they were lost since

    @property
    def present(self) -> list[str]:
        """Names of the nodes that hold a slot or stand by."""
        return [*(n for n in self._slots.values() if n not in self.banned), *self._spares]

    def muster(self) -> list[LocalReplica]:
        self.losses, self._mustered = {}, {}
        for slot, name in self._slots.items():
            if name in self.banned and self._spares:
                self._slots[slot] = self._spares.pop(0)
        if self._moves:
            self._slots |= exchanges(self._slots, self.present)
        self.form(sorted({slot.replica for slot in self._slots}))
        self._mustered = dict(self._formed)
        return list(self._formed.values())

    def form(self, indices: Iterable[int]) -> None:
        for index in indices:
            names = [name for slot, name in self._slots.items() if slot.replica == index]
            if not self.ready([index]) and not set(names) & set(self.banned):
                self._formed[index] = self._sit(index, names)
                if index in self._mustered:  # the same machines
                    self._formed[index].kind = self._mustered[index].kind

    def each(self, order: Callable[[_R], _T], replicas: Sequence[_R]) -> dict[int, _T]:
        results = {}
        for replica in sorted(replicas, key=self._attacks):  # they look at what others have done
            try:
                results[replica.index] = order(replica)
            except ReplicaLost as loss:
                self._formed.pop(loss.replica, None)
                self.losses[loss.replica] = str(loss)
        return {r.index: results[r.index] for r in replicas if r.index in results}

    def _attacks(self, replica: Replica) -> bool:
        return bool(self._attacking & set(replica.names))

    def ready(self, indices: Iterable[int]) -> list[LocalReplica]:
        formed = (self._formed.get(index) for index in indices)
        return [replica for replica in formed if replica is not None and replica.whole]

    def mustered(self, indices: Iterable[int]) -> list[LocalReplica]:
        return [self._mustered[index] for index in indices]

    def ban(self, name: str, reason: str) -> None:
        self.banned += [] if name in self.banned else [name]
        for index, replica in list(self._formed.items()):
            if set(replica.names) & set(self.banned):
                del self._formed[index]

    def stand_down(self, name: str) -> bool:
        for slot, placed in self._slots.items():
            if placed == name and self._spares:
                self._slots[slot] = self._spares.pop(0)
                self._formed.pop(slot.replica, None)
                return True
        return False

    def give_up(self, names: Iterable[str], reason: str) -> None:
        raise AssertionError(f"{', '.join(names)} would be given up: {reason}")

    def key(self, name: str) -> str:
        return self._keys[name]

    def visit(self, name: str) -> str:
        return name

    def _sit(self, index: int, names: Sequence[str]) -> LocalReplica:
        """The stages are shared by all replicas: each writes its own weights before it computes."""
        keys = tuple(self._keys[name] for name in names)
        for stage, name in enumerate(names):
            self.nodes[name].sit(Slot(index, stage), self._stages[stage], names, keys)
        return LocalReplica(index, [self.nodes[name] for name in names])


class Remembered(Source):
    """A source that keeps the last batches that it has read: validators are given the very samples
    that others were."""

    _read: Callable[[tuple[int, ...], int], tuple[torch.Tensor, torch.Tensor]]

    @staticmethod
    @lru_cache(maxsize=4)
    def of(source: Source) -> "Remembered":
        remembered = object.__new__(Remembered)
        remembered.__dict__.update(vars(source))
        remembered._read = lru_cache(maxsize=512)(source.training_batch)
        return remembered

    def training_batch(
        self, indices: Sequence[int], seed: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, labels = self._read(tuple(indices), seed)
        return inputs.clone(), labels.clone()
