"""Nodes that lie in one operation of one step, to be put in the place of honest ones in a
laboratory."""

from collections import Counter
from concurrent.futures import Future
from dataclasses import replace

import torch

from tdml.ledger.commit import commit_statement
from tdml.node.node import Node
from tdml.node.stage import Stage
from tdml.trust.commitment import block_digests, content

OWN, AS_VALIDATOR = "own", "as validator"
STEP = 3  # of the round, in which it lies


class Liar(Node):
    """Lies by `deed` in one step: of its own round, in which it repeats its lie if it is asked
    again (`again`), or of those that it repeats for others (`when`)."""

    deed = "state"
    when = OWN
    again = True

    def training(self, order, steps):
        self._lies = lambda step: self.when == OWN and step == STEP
        yield from super().training(order, steps)

    def repeating(self, order):
        when = OWN if order.own else AS_VALIDATOR
        lies = when == self.when and (self.again or when == AS_VALIDATOR)
        self._lies = lambda step: lies and order.first + step == STEP
        yield from super().repeating(order)

    def evaluating(self, order):
        self._lies = lambda _: False
        yield from super().evaluating(order)

    def _take_step(self, given, log, step, keeps=False):
        lies = self._lies(step)
        deed = DEEDS.get(self.deed) if lies else None
        undo = deed(self.stage) if deed else None
        yield from super()._take_step(given, log, step, keeps)
        if undo:
            undo()
        if lies and self.deed == "state":
            _nudge(self.stage)
        if lies and self.deed == "records":
            log[step, : len(self.stage.channels)] += 1

    def update_to_commit(self, update, round_number):
        return update * 1.5 if self.deed == "update" and self.when == OWN else update

    def end_to_report(self, end, order):
        lies = self.deed == "update" and self.when == AS_VALIDATOR and not order.own
        return end * 1.5 if lies else end


class HandsInAnother(Node):
    """Takes all of its steps, hands in something else, and says the same whenever it is asked to
    repeat its own round."""

    def update_to_commit(self, update, round_number):
        return update * -1

    def end_to_report(self, end, order):
        return end * -1 if order.own and order.last else end


class Confederate(Liar):
    """Logs what it was not sent: it is in league with the stage before it, which records the truth
    and sends a lie."""

    def _take_step(self, given, log, step, keeps=False):
        yield from super()._take_step(given, log, step, keeps)
        if self._lies(step) and log is not None:
            log[step, 0] = self.truth.stage_log[step, 0]


class InLeague(Liar):
    """Finds the lies of the others in its league right."""

    def repeating(self, order):
        self._lies = lambda step: order.replica > 0 and order.first + step == STEP
        yield from Node.repeating(self, order)


class Sender(Liar):
    """Records the truth and sends a lie; `stage_log` is for its confederate."""

    deed = "sends"

    def _take_step(self, given, log, step, keeps=False):
        self.stage_log = log
        yield from super()._take_step(given, log, step, keeps)


class CommitsToNothing(Node):
    """Its root fits nothing that it can show."""

    def commit(self, round_number):
        made = replace(super().commit(round_number), states="0" * 64)
        said = self.job, round_number, self._play, self.identity.public, self.name
        statement = commit_statement(*said, made)
        return replace(made, signature=statement.sign(self.identity))


class ShowsAnotherState(Node):
    """Its trace is right, and the state that it shows is not what the trace names."""

    def digests(self, vector):
        return (content(torch.zeros(1)),) if vector.startswith("state") else super().digests(vector)


class CommitsToUnknownStates(Node):
    """Trains honestly, says nothing of what its windows begin with, and shows others something
    else."""

    def commit(self, round_number):
        said: Future[str] = Future()
        said.set_result("")
        self._trace._contents = [said for _ in self._trace._contents]
        made = super().commit(round_number)
        for name in [name for name in self._vectors if name.startswith("state")]:
            self._vectors[name] = tuple(block * 1.5 for block in self._vectors[name])
        return made


class IsSilent(Node):
    """Does not answer when it is asked to open its trace."""

    silent = True

    def open(self):
        if self.silent:
            raise RuntimeError("no")
        return super().open()


class RevealsAnother(Node):
    """Shows its update once, to be judged, or `times`, and another when it is asked for it again,
    for the mean."""

    other = staticmethod(lambda block: block * 1e6)
    times = 1

    def commit(self, round_number):
        self._revealed = Counter()
        return super().commit(round_number)

    def reveal(self, vector, block):
        found = super().reveal(vector, block)
        self._revealed[vector, block] += 1
        return self.other(found) if self._revealed[vector, block] == self.times + 1 else found


class ShowsAnotherUpdate(Node):
    """Has committed to an update, and shows a validator another."""

    def digests(self, vector):
        return ("0" * 64,) * len(super().digests(vector))


class AnswersAmiss(Node):
    """Gives one of its answers in a form that no honest node gives it, when a dispute is narrowed
    down."""

    amiss = ""

    def repeated(self):
        told = super().repeated()
        return AMISS[self.amiss](told) if told.states and self.amiss in AMISS else told

    def shown(self):
        told = super().shown()
        return AMISS_SHOWN[self.amiss](told) if self.amiss in AMISS_SHOWN else told

    def digests(self, vector):
        if self.amiss == f"scalars for {vector}":
            return block_digests(self._scalars)
        return () if self.amiss == f"no digests of {vector}" else super().digests(vector)

    def reveal(self, vector, block):
        scalars = self.amiss == f"scalars for {vector}"
        return self._scalars[block] if scalars else super().reveal(vector, block)

    _scalars = (torch.tensor(1.0),)  # which no vector is put together from


AMISS = {
    "no states": lambda told: replace(told, states=()),
    "no signatures": lambda told: replace(told, signatures=()),
    "no log": lambda told: replace(told, log=torch.empty(0)),
    "a log of other numbers": lambda told: replace(told, log=told.log.float()),
    "a short log": lambda told: replace(told, log=told.log[:1, :1]),
}
AMISS_SHOWN = {
    "flat messages": lambda told: replace(
        told, messages=tuple(tuple(t.reshape(-1) for t in message) for message in told.messages)
    ),
    "split messages": lambda told: replace(
        told,
        messages=tuple(
            tuple(half for t in message for half in t.chunk(2)) for message in told.messages
        ),
    ),
    "a message less": lambda told: replace(told, messages=told.messages[:-1]),
    "a channel less": lambda told: replace(told, channels=told.channels[:-1]),
}


class LeavesOutSteps(Node):
    """Says that it has taken steps of which it knows nothing."""

    def _take_step(self, given, log, step, keeps=False):
        yield from super()._take_step(given, log, step, keeps)
        if log is not None and step == STEP:
            log[step] = 0


def _activation(stage: Stage):
    return (
        stage.runners[0].register_forward_hook(lambda *parts: parts[-1] * 1.01, prepend=True).remove
    )


def _sends(stage: Stage):
    return stage.runners[0].register_forward_hook(lambda *parts: Scaled.apply(parts[-1])).remove


def _gradient(stage: Stage):
    runner, honest = stage.runners[0], stage.runners[0]._compute
    runner._compute = lambda value: honest(_Doubled.apply(value))

    def undo() -> None:
        runner._compute = honest

    return undo


def _norm(stage: Stage):
    clip, honest = stage.trainer.clip, stage.trainer.clip.norms
    clip.norms = lambda parameters: honest(parameters) * 2

    def undo() -> None:
        clip.norms = honest

    return undo


def _tied(stage: Stage):
    tie, honest = stage.tie, (stage.tie.values, stage.tie.gradients)
    tie.values, tie.gradients = (_doubling(function) for function in honest)

    def undo() -> None:
        tie.values, tie.gradients = honest

    return undo


def _doubling(function):
    return lambda: [tensor * 2 for tensor in function()]


def _nudge(stage: Stage) -> None:
    with torch.no_grad():
        stage.trainer.parameters[0].mul_(1.01)


class Scaled(torch.autograd.Function):
    """Another value, and the gradient as if it were the same."""

    @staticmethod
    def forward(context, value):
        return value * 1.01

    @staticmethod
    def backward(context, gradient):
        return gradient


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(context, value):
        return value.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * 2


DEEDS = {
    "activation": _activation,
    "gradient": _gradient,
    "norm": _norm,
    "sends": _sends,
    "tied": _tied,
}
