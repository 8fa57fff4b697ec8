"""The attacker in a worker: its attack, when it acts, and what it remembers for it."""

from collections import deque

import torch

from tdml.attacks.base import Attack, Context, Knowledge, acts, attackers, make_attack
from tdml.config import Config
from tdml.models.layout import Layout
from tdml.seeds import derive


class Attacker:
    """What a node does apart from honest work. Every worker has one; an honest node's never does anything.

    An attacker remembers its last updates and the last change of the global weights: unlike that of an honest
    node, its round depends on the rounds before it.
    """

    def __init__(self, config: Config, name: str) -> None:
        topology = config.topology
        names = attackers(config.attack, topology.replicas, topology.stages)
        self._config, self._name = config, name
        self._attack: Attack | None = make_attack(config.attack) if name in names else None
        self._friends = frozenset(int(name[1:].partition(".")[0]) for name in names)
        self._past: deque[torch.Tensor] = deque(maxlen=2)
        self._aggregate: torch.Tensor | None = None
        self._replica, self._stage, self._skips, self._work = 0, 0, False, 1.0
        self._layout: Layout | None = None

    @property
    def attacks(self) -> bool:
        """Whether the node is an attacker at all."""
        return self._attack is not None

    def sit(self, replica: int, stage: int, layout: Layout, skips: bool) -> None:
        """Take a seat. `skips`: all nodes of the replica attack, so that they may leave out steps together."""
        self._replica, self._stage, self._layout, self._skips = replica, stage, layout, skips

    def watch(self, change: torch.Tensor) -> None:
        """See the global weights change; the same ones may come again, which is no change."""
        if change.any():
            self._aggregate = change

    def steps(self, steps: int, number: int) -> int:
        """How many of the round's steps the node takes: at least one."""
        taken = steps
        if self._skips and self._acts(number):
            taken = min(max(self._attack.local_steps(steps, self._context(number)), 1), steps)
        self._work = taken / steps
        return taken

    def inputs(self, inputs: torch.Tensor, number: int) -> torch.Tensor:
        """The inputs of a training batch, at the first stage."""
        return self._attack.poison_inputs(inputs, self._context(number)) if self._acts(number) else inputs

    def labels(self, labels: torch.Tensor, number: int) -> torch.Tensor:
        """The labels of a training batch, at the last stage."""
        return self._attack.poison_labels(labels, self._context(number)) if self._acts(number) else labels

    def update(self, update: torch.Tensor, number: int, knowledge: Knowledge | None) -> torch.Tensor:
        """The update to commit to, in place of the one that the node has trained."""
        committed = self._attack.corrupt(update, self._context(number, knowledge)) if self._acts(number) else update
        if self._attack is not None:
            self._past.append(committed)
        return committed

    def testimony(self, losses: torch.Tensor, candidate: int | None, number: int) -> torch.Tensor:
        """What a validator reports of a candidate, at the last stage."""
        return self._attack.testify(losses, candidate, self._context(number)) if self._acts(number) else losses

    def repetition(self, end: torch.Tensor, candidate: int, number: int) -> torch.Tensor:
        """What a validator reports as the end of a candidate's steps that it took again."""
        return self._attack.repeat(end, candidate, self._context(number)) if self._acts(number) else end

    def _acts(self, number: int) -> bool:
        return self._attack is not None and acts(self._config.attack, self._config.seed, number)

    def _context(self, number: int, knowledge: Knowledge | None = None) -> Context:
        assert self._layout is not None
        seed = self._config.seed
        return Context(
            round=number, node=self._name, replica=self._replica, stage=self._stage,
            names=self._layout.names, sizes=tuple(shape.numel() for shape in self._layout.shapes),
            parameters=self._layout.parameters,
            generator=torch.Generator().manual_seed(derive(seed, "attack", number, self._name)),
            shared=torch.Generator().manual_seed(derive(seed, "attack together", number, self._stage)),
            friends=self._friends, past=tuple(self._past), aggregate=self._aggregate, knowledge=knowledge,
            work=self._work,
        )  # fmt: skip
