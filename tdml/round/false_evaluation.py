"""Whether an evaluation is false: the coordinator takes one batch of it itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from tdml.data import pieces
from tdml.node.agreement import evaluation_purpose
from tdml.protocol.orders import EvaluateOrder, Evaluation
from tdml.round.evaluator import Evaluator, is_equal
from tdml.round.fleet import Replica
from tdml.round.openings import is_log
from tdml.round.referee import CannotRead
from tdml.round.rounding import Rounding
from tdml.round.settler import Settler
from tdml.round.signatures import Signers, broken_agreements
from tdml.trust.judgement import Proof
from tdml.trust.numbers import AGAIN


@dataclass(frozen=True)
class Evaluated:
    """What a replica has answered to an order to evaluate something."""

    replica: int
    order: EvaluateOrder
    parts: Sequence[Evaluation]  # by stage


@dataclass(frozen=True)
class Doubt:
    """The question whether one batch of an evaluation is true."""

    evaluated: Evaluated
    batch: int
    weights: Sequence[torch.Tensor]  # the global weights, by stage
    update: Sequence[torch.Tensor]  # that was added to them, by stage; []: none
    ask: Callable[[Replica], list[Evaluation]]  # has another replica evaluate the same
    others: Sequence[Replica]  # that can be asked
    text: str  # what was evaluated, for a proof's reason


def is_provable(settler: Settler, evaluated: Evaluated) -> bool:
    """Whether the coordinator can prove an evaluation false. It cannot on another kind of machine
    than its own, for there the logs are not the same; nor is there anything to prove without
    samples."""
    [validator] = settler.fleet.mustered([evaluated.replica])
    repeats = validator.kind not in settler.kinds.unrepeatable
    asked = pieces.count(evaluated.order.pieces) > 0
    return validator.kind == settler.referee.kind and repeats and asked


def false_evaluation(settler: Settler, doubt: Doubt, true: Evaluation | None) -> list[Proof]:
    """The proofs against nodes that have lied in a provable evaluation, by one batch of it.

    Where the coordinator finds something else than the replica, another replica must find the same
    as the coordinator, and both of them again and again: code may keep something where nobody
    looks.

    Args:
        true: what the coordinator finds of the batch; None if it can find nothing.
    """
    evaluator, evaluated = settler.evaluator, doubt.evaluated
    [validator] = settler.fleet.mustered([evaluated.replica])
    count = -(-pieces.count(evaluated.order.pieces) // evaluator.batch_size)
    if proofs := _false_logs(settler, validator, evaluated, count):
        return proofs
    if true is None or (stage := _false_stage(settler, doubt, evaluated.parts, true)) is None:
        return []
    place = evaluated.order, doubt.weights, doubt.update, doubt.batch
    if not evaluator.reproduces(*place, true, AGAIN):
        return []
    alike = (other for other in doubt.others if other.kind == settler.referee.kind)
    if not any(_confirms(settler, doubt, true, count, other) for other in alike):
        return []
    reason = f"stage {stage} reports what recomputation does not find {doubt.text}"
    return [Proof((validator.names[stage],), reason)]


def _confirms(settler: Settler, doubt: Doubt, true: Evaluation, count: int, other: Replica) -> bool:
    """Whether another replica finds the same as the coordinator, every time that it is asked."""
    channels = settler.job.channels
    repeats = settler.fleet.each(lambda other: [doubt.ask(other) for _ in range(AGAIN)], [other])
    return bool(repeats) and all(
        all(is_log(answer.log, count, channels, s) for s, answer in enumerate(answers))
        and _false_stage(settler, doubt, answers, true) is None
        for answers in repeats[other.index]
    )


def _false_logs(
    settler: Settler, validator: Replica, evaluated: Evaluated, count: int
) -> list[Proof]:
    """The proofs against nodes of the validator whose logs of `count` batches no honest node
    gives."""
    answers, channels = evaluated.parts, settler.job.channels
    false = [
        stage
        for stage, each in enumerate(answers)
        if not is_log(each.log, count, channels, stage) or len(each.signatures) != len(answers)
    ]
    if false:
        return [
            Proof((validator.names[stage],), "its log of an evaluation has another form")
            for stage in false
        ]
    signers = Signers.of(settler.fleet, validator)
    return broken_agreements(channels, signers, evaluation_purpose(evaluated.order), answers)


def truth(
    evaluator: Evaluator, doubt: Doubt, rounding: Rounding | None = None
) -> Evaluation | None:
    """What the coordinator finds when it evaluates the batch; None if the model raises something at
    such an update: whoever reports of it has not run it, but nobody knows what is true.

    Args:
        rounding: changes all numbers that are read.

    Raises:
        CannotRead: the coordinator cannot read the samples.
    """
    place = doubt.evaluated.order, doubt.weights, doubt.update, doubt.batch
    try:
        return evaluator.evaluate(*place, rounding)
    except CannotRead:
        raise
    except Exception:
        return None


def _false_stage(
    settler: Settler, doubt: Doubt, answers: Sequence[Evaluation], true: Evaluation
) -> int | None:
    """The first stage whose answer on the batch is not `true`; None if there is none."""
    for number, channel in enumerate(settler.job.channels):
        if not torch.equal(answers[channel.sender].log[doubt.batch, number], true.log[0, number]):
            return channel.sender
    start = doubt.batch * settler.evaluator.batch_size
    own = slice(start, start + len(true.losses))
    last = answers[-1]
    reported = replace(true, losses=last.losses[own], rows=last.rows[own])
    return None if is_equal(reported, true) else len(answers) - 1
