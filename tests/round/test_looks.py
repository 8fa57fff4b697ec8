"""One replica alone, whose work nobody can repeat but the coordinator, which looks at single
steps."""

from dataclasses import replace

import pytest
import torch

from tdml.lab.laboratory import Laboratory
from tdml.node.messages import as_row, digest_of
from tdml.node.node import Node
from tests.round import liars
from tests.round.seats import sit

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "sync.local_steps=6",
    "train.clip_norm=1", "topology.microbatches=4", "topology.replicas=1", "trust.budget=1",
    "rounds=2",
]  # fmt: skip


@pytest.mark.parametrize("stages", [2, 3])
def test_a_step_that_was_not_taken_is_met(stages: int) -> None:
    laboratory = Laboratory([*_JOB, f"topology.stages={stages}"])
    assert not laboratory.play(1).bans
    sit(laboratory, "r0.s1", liars.Liar, deed="update")
    assert list(laboratory.play(2).bans) == ["r0.s1"]


def test_updates_are_looked_at_too() -> None:
    """An update that is not what the states lead to, and to which its node sticks: one of twelve
    looks is at it."""
    laboratory = Laboratory([*_JOB, "topology.stages=2"])
    sit(laboratory, "r0.s1", liars.HandsInAnother)
    bans = [list(laboratory.play(number).bans) for number in range(1, 13)]
    assert [name for banned in bans for name in banned] == ["r0.s1"]


class DoublesActivations(Node):
    """In every step, with the gradients of the true ones: its own state is right, and that of its
    neighbour follows from what it receives."""

    def _take_step(self, given, log, step, keeps=False):
        runner = self.stage.runners[0]
        hook = runner.register_forward_hook(lambda m, i, o: o + o.detach(), prepend=True)
        yield from super()._take_step(given, log, step, keeps)
        hook.remove()


class DoublesGradients(liars.Liar):
    """Likewise."""

    deed = "gradient"

    def training(self, order, steps):
        self._lies = lambda step: True
        yield from Node.training(self, order, steps)

    def repeating(self, order):
        self._lies = lambda step: True
        yield from Node.repeating(self, order)


@pytest.mark.parametrize(
    ("seat", "kind"), [("r0.s0", DoublesActivations), ("r0.s1", DoublesGradients), ("r0.s1", Node)]
)
def test_what_a_stage_sends_is_looked_at_as_what_it_keeps(seat: str, kind: type) -> None:
    laboratory = Laboratory([*_JOB, "topology.stages=2", "rounds=6"])
    sit(laboratory, seat, kind)
    played = [laboratory.play(number) for number in range(1, 7)]
    counted = sum(round_.judgements[0].weight > 0 for round_ in played)
    # in one round of eight all looks are at the other stage
    assert counted == 6 if kind is Node else counted <= 2


class SaysItWasMore(Node):
    """Logs, and shows, that far more has passed between its replica's two stages."""

    more = (torch.ones(1000, 16),)

    def training(self, order, steps):
        self._says = True
        yield from super().training(order, steps)

    def repeating(self, order):
        self._says = order.own
        yield from super().repeating(order)

    def evaluating(self, order):
        self._says = False
        yield from super().evaluating(order)

    def _take_step(self, given, log, step, keeps=False):
        yield from super()._take_step(given, log, step, keeps)
        if log is not None and self._says:
            log[step, 0] = as_row(digest_of(self.more))

    def shown(self):
        told = super().shown()
        pairs = zip(told.channels, told.messages, strict=True)
        return replace(told, messages=tuple(m if n else self.more for n, m in pairs))


@pytest.mark.parametrize(
    ("stages", "more"),
    [(2, (torch.ones(1000, 16),)), (3, (torch.ones(8, 16),) * 100)],
    ids=["long", "many"],
)
def test_nothing_is_computed_from_messages_of_a_size_that_somebody_has_made_up(
    stages: int, more: tuple[torch.Tensor, ...]
) -> None:
    """Of a language model a message that is a thousand times as long takes a million times as
    long; and of many micro-batches' all that was computed is kept."""
    laboratory = Laboratory([*_JOB, f"topology.stages={stages}"])
    for name in ("r0.s0", "r0.s1"):
        sit(laboratory, name, SaysItWasMore, more=more)
    referee, sizes = laboratory.engine.judge.auditor.settler.referee, list[int]()
    part = referee._copies.stage(1).runners[0]
    part.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    for number in range(1, 4):
        assert not laboratory.play(number).accepted
    assert set(sizes) <= {8}
    assert len(sizes) < 100
