"""Nodes whose owners have written their own worker. Named by `attack._target_=tests.hostile_workers.Hostile`.

What the interface of attacks cannot express is patched into the worker of the attacking process: every rank of a test
job has a process of its own, and only an attacker's makes an attack and a worker.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from tdml.attacks import Attack
from tdml.ledger.commit import commit_statement
from tdml.training import clip
from tdml.training.borders import RECEIVED, SENT
from tdml.trust.commitment import content
from tdml.worker import Worker


class Hostile(Attack):
    """Does one of the deeds below, by name."""

    def __init__(self, deed: str) -> None:
        hostile = type("HostileWorker", (_DEEDS[deed], Worker), {})
        order = Worker.order

        def turn_hostile(made: Worker, name: str, arguments: tuple) -> object:
            made.__class__ = hostile
            return order(made, name, arguments)

        Worker.order = turn_hostile


class LabelsAtFirst:
    """Other labels in the first two steps, honest work after that."""

    def _step(self, order, replica, step, inputs, labels, records):
        own = replica == self._seat.replica
        labels = 9 - labels if own and step < 2 else labels
        return super()._step(order, replica, step, inputs, labels, records)


class SkipsOneStep:
    """Leaves out the second step, and says that it took it."""

    def _step(self, order, replica, step, inputs, labels, records):
        if replica == self._seat.replica and step == 1:
            records.zero_()
            return 1.0
        return super()._step(order, replica, step, inputs, labels, records)


class RandomDigests:
    """Commits to nothing."""

    def commit(self, order):
        states = os.urandom(32).hex()
        made = replace(super().commit(order), states=states)
        statement = commit_statement(self._job_id, order.round, self._identity.public, self.name, made)
        return replace(made, signature=statement.sign(self._identity))


class RefusesToOpen:
    """Trains on other labels, and answers nothing when it is asked to show it."""

    def _step(self, order, replica, step, inputs, labels, records):
        labels = 9 - labels if replica == self._seat.replica else labels
        return super()._step(order, replica, step, inputs, labels, records)

    def open(self, windows):
        raise RuntimeError("no")


class DiesWhenAsked:
    """Is gone as soon as it is audited."""

    def open(self, windows):
        os.kill(os.getpid(), signal.SIGKILL)


class DiesInOddRounds:
    """Trains on other labels in odd rounds, and is gone as soon as it is audited in one of them."""

    _odd = False

    def train(self, order):
        self._odd = order.round % 2 == 1
        return super().train(order)

    def _step(self, order, replica, step, inputs, labels, records):
        own = self._odd and replica == self._seat.replica
        labels = 9 - labels if own and labels is not None else labels
        return super()._step(order, replica, step, inputs, labels, records)

    def open(self, windows):
        if self._odd:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().open(windows)


class Wavers:
    """Trains on other labels in odd rounds, and finds something else whenever it is to take its own steps again."""

    _repetitions = 0

    def _step(self, order, replica, step, inputs, labels, records):
        labels = 9 - labels if order.round % 2 and replica == self._seat.replica else labels
        return super()._step(order, replica, step, inputs, labels, records)

    def repeat(self, order):
        done = super().repeat(order)
        if order.replica != self._seat.replica:
            return done
        self._repetitions += 1
        self._repeated = self._repeated * self._repetitions
        return replace(done, digest=content(self._repeated))


class FailsAsValidator:
    """Trains on other labels, and fails whenever it is to judge another."""

    def _step(self, order, replica, step, inputs, labels, records):
        labels = 9 - labels if replica == self._seat.replica else labels
        return super()._step(order, replica, step, inputs, labels, records)

    def evaluate(self, order):
        if order.testimony:
            raise RuntimeError("no")
        return super().evaluate(order)


class ShowsOthers:
    """Shows other states than it committed to."""

    def open(self, windows):
        opening = super().open(windows)
        return replace(opening, starts=tuple(s if s is None else s + 1 for s in opening.starts))


class OtherSketches:
    """As a validator, finds what is right and tells another way to it."""

    def repeat(self, order):
        done = super().repeat(order)
        done.sketches[:, :, SENT] += 1
        return done


class _Tampers:
    """Sends other activations while it is `lying`; with `denies` its records tell what it should have sent."""

    lying = False
    denies = False

    def join(self, assignment):
        kind = super().join(assignment)
        for module in self._stage.pipeline.modules:
            module.register_forward_hook(lambda module, inputs, output: self._tamper(output), prepend=True)
        if self.denies:
            _rewrite(self, lambda kind, value: self.truth if kind == SENT and self.lying else value)
        return kind

    def other(self, output: torch.Tensor) -> torch.Tensor:
        return output + 0.5

    def _tamper(self, output: torch.Tensor) -> torch.Tensor:
        self.truth = output
        return self.other(output) if self.lying else output


def _rewrite(made: Worker, told: Callable[[int, torch.Tensor], torch.Tensor]) -> None:
    """Have the worker's records tell something else of what it sends and receives."""
    for recorder in made._stage.pipeline._recorders:
        put = recorder._put

        def other(kind, micro, value, into=None, put=put):
            put(kind, micro, told(kind, value), into)

        recorder._put = other


class TampersInFlight(_Tampers):
    """In its own steps; not in those that it takes again."""

    def train(self, order):
        self.lying = True
        report = super().train(order)
        self.lying = False
        return report


class SendsZeros(TampersInFlight):
    """So that nothing comes out of the next stage either."""

    def other(self, output):
        return 0 * output


class SwapsSamples(TampersInFlight):
    """The activations of a micro-batch go to other labels, with the same sums."""

    def other(self, output):
        return output.roll(1, dims=0)


class TampersAndDenies(TampersInFlight):
    """Two that contradict each other are the outcome."""

    denies = True


class TellsFalseNorms:
    """So that its neighbour, whose gradients are clipped by them, hardly moves."""

    def _step(self, order, replica, step, inputs, labels, records):
        if replica != self._seat.replica:
            return super()._step(order, replica, step, inputs, labels, records)
        true = clip._norms
        clip._norms = lambda *given: 100 * true(*given)
        loss = super()._step(order, replica, step, inputs, labels, records)
        clip._norms = true
        return loss


class BlamesItsNeighbour:
    """Hands in another update than it has trained, and its records tell that it was sent something else."""

    lying = False

    def join(self, assignment):
        kind = super().join(assignment)
        _rewrite(self, lambda kind, value: value + 1 if kind == RECEIVED and self.lying else value)
        return kind

    def train(self, order):
        self.lying = True
        report = super().train(order)
        self.lying = False
        self._update = self._update * 1.5
        return report


class MisleadsValidators(_Tampers):
    """While its replica judges a candidate."""

    def evaluate(self, order):
        self.lying = order.candidate is not None
        answer = super().evaluate(order)
        self.lying = False
        return answer

    def other(self, output):
        return output.roll(1, dims=0)


class MisleadsValidatorsAndDenies(MisleadsValidators):
    """The same, and it contradicts its neighbour."""

    denies = True


_DEEDS = {deed.__name__: deed for deed in (
    LabelsAtFirst, SkipsOneStep, RandomDigests, RefusesToOpen, DiesWhenAsked, DiesInOddRounds, Wavers, FailsAsValidator,
    ShowsOthers, OtherSketches, TellsFalseNorms, TampersInFlight, SendsZeros, SwapsSamples, TampersAndDenies,
    BlamesItsNeighbour, MisleadsValidators, MisleadsValidatorsAndDenies,
)}  # fmt: skip


class Dropout(nn.Sequential):
    """A model that draws at random while it trains."""

    def __init__(self, num_classes: int, channels: int, width: int) -> None:
        super().__init__(
            nn.Sequential(nn.Conv2d(channels, width, 3, stride=2), nn.ReLU(), nn.Dropout(0.2)),
            nn.Sequential(nn.Conv2d(width, width, 3, stride=2), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.2)),
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes)),
        )
