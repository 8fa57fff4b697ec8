"""Nodes whose owners have written their own worker. Named by
`attack._target_=tests.hostile_workers.Hostile`.

What the interface of attacks cannot express is mixed into the node of the attacking process: every
rank of a test job has a process of its own.
"""

import os
import signal

from torch import nn

from tdml.attacks import Attack
from tdml.attacks.node import AttackingNode
from tdml.node import worker
from tests.round import liars, unhelpful


class Hostile(Attack):
    """Makes the node that has it one of `tests.round.liars` or `unhelpful`, or one of those below,
    with some attributes."""

    def __init__(self, kind: str, **attributes: object) -> None:
        base = {**vars(liars), **vars(unhelpful), **globals()}[kind]
        honest = AttackingNode.sit

        def sit(node: AttackingNode, *given: object) -> None:
            honest(node, *given)
            if type(node) is AttackingNode:
                node.__class__ = type(kind, (base, AttackingNode), {})
                vars(node).update(attributes)

        AttackingNode.sit = sit


class LiesTwice(liars.Liar):
    """In its own round, and in those that it repeats for others."""

    def repeating(self, order):
        self.when = liars.OWN if order.own else liars.AS_VALIDATOR
        yield from super().repeating(order)
        self.when = liars.OWN


class OnAKindOfItsOwn(liars.HandsInAnother):
    """Says that it is on another kind of machine than all others."""

    def sit(self, *given):
        super().sit(*given)
        worker.machine_kind = lambda _: "NVIDIA H400"


class ChangesKind(liars.HandsInAnother):
    """Fails when it is to repeat the work of others, and says after that that it is a GPU, of which
    nobody could tell what it draws."""

    def repeating(self, order):
        if not order.own:
            worker.machine_kind = lambda _: "NVIDIA H400"
            raise MemoryError("no room")
        yield from super().repeating(order)


class DiesWhenAsked:
    """Is gone as soon as it is audited."""

    def open(self):
        os.kill(os.getpid(), signal.SIGKILL)


class Wavers:
    """Hands in another update than it has trained, and finds something else whenever it repeats its
    own work."""

    repetitions = 0

    def update_to_commit(self, update, round_number):
        return update * 1.5

    def end_to_report(self, end, order):
        self.repetitions += 1
        return end * (1 + self.repetitions) if order.own else end


class Dropout(nn.Sequential):
    """A model that draws at random while it trains."""

    def __init__(self, num_classes: int, channels: int, width: int) -> None:
        super().__init__(
            nn.Sequential(nn.Conv2d(channels, width, 3, stride=2), nn.ReLU(), nn.Dropout(0.2)),
            nn.Sequential(
                nn.Conv2d(width, width, 3, stride=2),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.Dropout(0.2),
            ),
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes)),
        )
