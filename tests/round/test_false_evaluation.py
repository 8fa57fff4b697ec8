"""What it takes to convict somebody of a false evaluation."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from tdml.data.pieces import held_out
from tdml.lab.laboratory import Laboratory
from tdml.protocol.orders import EvaluateOrder, Evaluation, new_nonce
from tdml.round.evaluator import is_equal
from tdml.round.false_evaluation import (
    Doubt,
    Evaluated,
    false_evaluation,
    is_provable,
    truth,
)
from tdml.round.fleet import Replica

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "topology.stages=2",
    "topology.replicas=3", "train.batch_size=16", "topology.microbatches=2",
]  # fmt: skip
_BATCH = 1  # of two, which is looked at


def _worse(parts: list[Evaluation]) -> list[Evaluation]:
    """The last stage says of one sample of that batch that its loss is larger."""
    losses = parts[-1].losses.clone()
    losses[-1] += 1
    return [*parts[:-1], replace(parts[-1], losses=losses)]


class _Case:
    """Replica 1 has said what is false of 32 samples; replicas 0 and 2 say what is true."""

    def __init__(self) -> None:
        laboratory = Laboratory(_JOB)
        self.replicas = laboratory.fleet.muster()
        laboratory.engine.broadcast(self.replicas)
        self.settler = laboratory.engine.judge.auditor.settler
        self.weights = laboratory.engine.weights
        asked = held_out(laboratory.job.source, "test", torch.arange(32), 16)
        self.order = EvaluateOrder(1, asked, None, check=True, log=True, nonce=new_nonce())
        self.parts = _worse(self.evaluate(self.replicas[1]))
        self.ask: Callable[[Replica], list[Evaluation]] = self.evaluate
        self.others = [self.replicas[0], self.replicas[2]]

    def evaluate(self, replica: Replica) -> list[Evaluation]:
        return replica.evaluate(self.order, columns=0)

    def convicted(self) -> list[str]:
        """Names."""
        evaluated = Evaluated(1, self.order, self.parts)
        doubt = Doubt(evaluated, _BATCH, self.weights, [], self.ask, self.others, "of something")
        if not is_provable(self.settler, evaluated):
            return []
        true = truth(self.settler.evaluator, doubt)
        return [name for p in false_evaluation(self.settler, doubt, true) for name in p.nodes]


def test_who_says_what_nobody_else_finds_is_convicted() -> None:
    case = _Case()
    assert case.convicted() == ["r1.s1"]
    case.parts = case.evaluate(case.replicas[1])
    assert case.convicted() == []


def _another_kind(case: _Case) -> None:
    case.replicas[1].kind = "another"


def _unrepeatable(case: _Case) -> None:
    case.settler.kinds.unrepeatable.add(case.replicas[1].kind)


def _not_insisted_on(case: _Case) -> None:
    case.settler.evaluator.reproduces = lambda *_: False


def _nobody_else(case: _Case) -> None:
    case.others = []


def _others_on_another_kind(case: _Case) -> None:
    for other in case.others:
        other.kind = "another"


def _others_find_the_same(case: _Case) -> None:
    case.ask = lambda other: _worse(case.evaluate(other))


def _others_find_it_once(case: _Case) -> None:
    asked: list[Replica] = []

    def ask(other: Replica) -> list[Evaluation]:
        asked.append(other)
        found = case.evaluate(other)
        return found if asked.count(other) == 1 else _worse(found)

    case.ask = ask


def _others_log_nothing(case: _Case) -> None:
    case.ask = lambda other: [replace(part, log=part.log[:1]) for part in case.evaluate(other)]


def _others_do_not_answer(case: _Case) -> None:
    case.settler.fleet.each = lambda *_: {}


def _nothing_was_asked(case: _Case) -> None:
    case.order = replace(case.order, pieces=())
    case.parts = [replace(part, losses=part.losses[:0], log=part.log[:0]) for part in case.parts]


@pytest.mark.parametrize(
    "reason",
    [
        _another_kind, _unrepeatable, _not_insisted_on, _nobody_else, _others_on_another_kind,
        _others_find_the_same, _others_find_it_once, _others_log_nothing, _others_do_not_answer,
        _nothing_was_asked,
    ],
)  # fmt: skip
def test_nobody_is_convicted_without_all_of_it(reason: Callable[[_Case], None]) -> None:
    case = _Case()
    reason(case)
    assert case.convicted() == []


@pytest.mark.parametrize("form", ["no signatures", "short"])
def test_a_log_that_no_honest_node_gives_convicts_its_own(form: str) -> None:
    case = _Case()
    told = case.evaluate(case.replicas[1])
    amiss = {"signatures": ()} if form == "no signatures" else {"log": told[0].log[:1]}
    case.parts = [replace(told[0], **amiss), told[1]]
    assert case.convicted() == ["r1.s0"]


def test_who_logs_what_it_was_not_sent_is_convicted_though_nobody_else_is_asked() -> None:
    """Recomputation looks at the senders' logs."""
    case = _Case()
    sender, receiver = case.evaluate(case.replicas[1])
    case.parts = [sender, replace(receiver, log=receiver.log + 1)]
    case.others = []
    assert set(case.convicted()) == {"r1.s1"}


def test_evaluations_differ_in_what_crossed_the_borders_too() -> None:
    one = _Case().parts[0]
    other = replace(one, log=one.log + 1)
    assert is_equal(one, replace(one))
    assert not is_equal(one, other)
