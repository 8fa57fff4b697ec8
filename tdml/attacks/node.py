"""The nodes of an experiment: attackers, and honest nodes that an omniscient attacker looks at.

An honest node's own code knows nothing of either: whoever starts nodes chooses which kind they are.
"""

import io
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch

from tdml.attacks.base import Attack, Context, Knowledge, acts, attackers, make_attack
from tdml.attacks.tap import StoreTap
from tdml.common.digest import digest
from tdml.common.seeds import derive
from tdml.data.source import Source
from tdml.models.layout import change
from tdml.models.whole import initial_model
from tdml.node.agreement import training_purpose
from tdml.node.lockstep import StepInputs
from tdml.node.node import Node, Step
from tdml.node.stage import Stage
from tdml.protocol.identity import Identity
from tdml.protocol.orders import EvaluateOrder, RepeatOrder, Slot, TrainOrder
from tdml.settings.schema import Config

_TICK_S = 0.05
_TRAINS, _DONE = "trains in", "has done"  # what honest nodes write down of a play of a round
_ATTACKS = "attacks with"  # what attackers do, of the weights that they were given
Tap = StoreTap | dict[str, bytes]  # where omniscient attackers find the honest updates


def make_node(
    config: Config, name: str, identity: Identity, job: str, source: Source | None, tap: Tap
) -> Node:
    """The node of that name in a job, as its group `attack` has it."""
    names = attackers(config.attack, config.topology.stages)
    if name in names:
        return AttackingNode(config, names, name, identity, job, source, tap)
    if names and make_attack(config.attack).omniscient:
        return WatchedNode(name, identity, job, config.seed, source, tap)
    return Node(name, identity, job, config.seed, source)


class WatchedNode(Node):
    """An honest node whose updates an omniscient attacker knows: it writes them down for it."""

    def __init__(
        self, name: str, identity: Identity, job: str, seed: int, source: Source | None, tap: Tap
    ) -> None:
        super().__init__(name, identity, job, seed, source)
        self._tap = tap

    def sit(self, slot: Slot, stage: Stage, names: Sequence[str], keys: Sequence[str]) -> None:
        super().sit(slot, stage, names, keys)
        self._tap[_note_key(slot)] = _note(_DONE, "")  # who has not played yet waits for it

    def training(self, order: TrainOrder, steps: int) -> Iterator[Step]:
        play = training_purpose(order.round, order.nonce)
        self._tap[_note_key(self.slot)] = _note(_TRAINS, play)
        yield from super().training(order, steps)

        kept = io.BytesIO()
        torch.save(self.update, kept)
        self._tap[_key(self.slot)] = kept.getvalue()
        self._tap[_note_key(self.slot)] = _note(_DONE, play)


class AttackingNode(Node):
    """A node that acts as its attack says. Unlike an honest node it remembers its last updates and
    the last change of the global weights."""

    def __init__(
        self,
        config: Config,
        attacking: frozenset[str],
        name: str,
        identity: Identity,
        job: str,
        source: Source | None,
        tap: Tap,
    ) -> None:
        super().__init__(name, identity, job, config.seed, source)
        self._config, self._attacking, self._tap = config, attacking, tap
        self._attack: Attack = make_attack(config.attack)
        self._friends = frozenset(
            int(n[1:].partition(".")[0]) for n in attacking if n.startswith("r")
        )
        self._last_play = self._this_play = ""  # of a round, by its training's purpose
        self._past: deque[torch.Tensor] = deque(maxlen=2)
        self._aggregate: torch.Tensor | None = None
        self._work = 1.0

    def load(self, weights: torch.Tensor) -> None:
        if weights.shape == self.weights.shape and (moved := change(self.weights, weights)).any():
            self._aggregate = moved  # the same weights may come again, which is no change
        super().load(weights)
        if self._attack.omniscient:
            self._tap[_note_key(self.slot)] = _note(_ATTACKS, digest(weights).hex())

    def planned(self, order: TrainOrder) -> int:
        steps = taken = len(order.batches)
        if self._attacking.issuperset(self.names) and self._acts(order.round):
            taken = min(max(self._attack.local_steps(steps, self._context(order.round)), 1), steps)
        self._work = taken / steps
        return taken

    def training(self, order: TrainOrder, steps: int) -> Iterator[Step]:
        self._last_play = self._this_play
        self._this_play = training_purpose(order.round, order.nonce)
        yield from super().training(order, steps)

        # where all are objects of one process the honest have trained by now
        if self._attack.omniscient and self._acts(order.round) and isinstance(self._tap, StoreTap):
            self._wait_for_honest()

    def inputs_to_train_on(self, given: StepInputs, round_number: int) -> StepInputs:
        if not self._acts(round_number):
            return given
        context = self._context(round_number)
        if self.stage.first:
            assert given.inputs is not None
            inputs = self._attack.poison_inputs(given.inputs.clone(), context)
            given = replace(given, inputs=_tensor("poison_inputs", inputs))
        if self.stage.last:
            assert given.targets is not None
            targets = self._attack.poison_labels(given.targets.clone(), context)
            given = replace(given, targets=_tensor("poison_labels", targets))
        return given

    def update_to_commit(self, update: torch.Tensor, round_number: int) -> torch.Tensor:
        knowledge = self._known_updates() if self._attack.omniscient else None
        nothing = knowledge is not None and not knowledge.honest
        if self._acts(round_number) and not nothing:
            context = self._context(round_number, knowledge)
            update = _tensor("corrupt", self._attack.corrupt(update, context))
        self._past.append(update)
        return update

    def end_to_report(self, end: torch.Tensor, order: RepeatOrder) -> torch.Tensor:
        if order.own or not self._acts(order.round):
            return end
        context = self._context(order.round)
        return _tensor("repeat", self._attack.repeat(end, order.replica, context))

    def losses_to_report(self, losses: torch.Tensor, order: EvaluateOrder) -> torch.Tensor:
        if not self._acts(order.round):
            return losses
        context = self._context(order.round)
        return _tensor("report", self._attack.report(losses, order.candidate, context))

    def _known_updates(self) -> Knowledge:
        """What an omniscient attacker knows of the honest updates of its stage."""
        honest = []
        for slot in self._slots_that_noted(_DONE, self._this_play):
            written = self._tap.get(_key(slot))
            assert written is not None
            honest.append(torch.load(io.BytesIO(written), weights_only=True))
        rows = torch.stack(honest) if honest else torch.empty(0, self.stage.layout.size)
        # whoever was banned before has not been given these weights
        attacking = len(self._slots_that_noted(_ATTACKS, digest(self.weights).hex()))
        return Knowledge.of(rows, attacking, self._attack.sees_updates)

    def _wait_for_honest(self) -> None:
        """Wait until all nodes have written down their updates that have begun to train, or had a
        part in the play before: an attacker that wants to know them hands in as late as it dares.
        """
        ends = time.monotonic() + self._config.sync.timeout / 2
        while time.monotonic() < ends and (
            self._slots_that_noted(_DONE, self._last_play)
            or self._slots_that_noted(_TRAINS, self._this_play)
        ):
            time.sleep(_TICK_S)

    def _slots_that_noted(self, does: str, what: str) -> list[Slot]:
        """The slots of the stage whose nodes have last written down just that."""
        note = _note(does, what)
        return [slot for slot in self._slots() if self._tap.get(_note_key(slot)) == note]

    def _slots(self) -> list[Slot]:
        """The slots of the stage, in all replicas."""
        return [Slot(r, self.slot.stage) for r in range(self._config.topology.most)]

    def _acts(self, number: int) -> bool:
        return acts(self._config.attack, self._config.seed, number)

    def _context(self, number: int, knowledge: Knowledge | None = None) -> Context:
        layout, seed = self.stage.layout, self._config.seed
        return Context(
            round=number,
            node=self.name,
            replica=self.slot.replica,
            stage=self.slot.stage,
            names=layout.names,
            sizes=tuple(shape.numel() for shape in layout.shapes),
            parameters=layout.parameters,
            generator=torch.Generator().manual_seed(derive(seed, "attack", number, self.name)),
            shared=torch.Generator().manual_seed(
                derive(seed, "attack together", number, self.slot.stage)
            ),
            friends=self._friends | {self.slot.replica},
            past=tuple(self._past),
            aggregate=self._aggregate,
            knowledge=knowledge,
            work=self._work,
            model=partial(initial_model, self._config.model, seed),
        )


def _tensor(deed: str, made: object) -> torch.Tensor:
    """Return the tensor that a method of an attack has `made`; users forget to return one."""
    if not isinstance(made, torch.Tensor):
        raise TypeError(f"attack: {deed}() returns {type(made).__name__}: it must return a tensor")
    return made


def _key(slot: Slot) -> str:
    return f"honest/{slot.replica}.{slot.stage}"


def _note_key(slot: Slot) -> str:
    return f"note/{slot.replica}.{slot.stage}"


def _note(does: str, what: str) -> bytes:
    return f"{does} {what}".encode()
