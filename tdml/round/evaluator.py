"""The judge of an evaluation: the coordinator takes one batch of it itself."""

from collections.abc import Sequence

import torch

from tdml.data import pieces
from tdml.errors import running_on
from tdml.node.evaluation import EvaluationBatch, Scores
from tdml.node.lockstep import predict
from tdml.node.messages import Passing, empty_log
from tdml.protocol.orders import EvaluateOrder, Evaluation
from tdml.round.copies import Copies
from tdml.round.job import Job
from tdml.round.referee import reading
from tdml.round.rounding import Rounding


class Evaluator:
    """Evaluates with the coordinator's `copies` of the stages."""

    def __init__(self, job: Job, copies: Copies) -> None:
        self._job, self._copies = job, copies
        self.train = job.config.train
        self.batch_size = job.config.train.effective_batch_size
        self.drew = False  # whether the model drew at random in the last evaluation

    def evaluate(
        self,
        order: EvaluateOrder,
        weights: Sequence[torch.Tensor],
        update: Sequence[torch.Tensor],
        batch: int,
        rounding: Rounding | None = None,
    ) -> Evaluation:
        """Evaluate one batch with the global weights, or with an update added to them, by stage.

        Args:
            batch: its number in the order.
            rounding: changes all numbers that are read.

        Raises:
            CannotRead: the samples cannot be read.
            Exception: whatever the model raises with an update that no honest one is like.
        """
        values = [w + u for w, u in zip(weights, update, strict=True)] if update else weights
        asked = self._job.source, order.pieces, self.batch_size, batch
        with reading("a batch that others have evaluated"):
            inputs, targets = pieces.one_batch(*asked)
        indices = range(len(weights))
        stages = [self._copies.stage(index) for index in indices]
        for stage, value in zip(stages, values, strict=True):
            stage.write(value)
        passing, log = [Passing() for _ in stages], empty_log(1, self._job.channels)
        scores = Scores(self._job.task, with_rows=not order.check)
        observe = EvaluationBatch(inputs, targets, None, scores).observe
        try:
            if rounding is not None:
                inputs = inputs + rounding.noise(inputs)
                for stage in stages:
                    stage.shift(rounding.noise)
            with running_on():
                predict(stages, inputs, observe, passing)
        except Exception:  # what is not trained may have been changed, in part
            self._copies.drop(indices)
            raise
        drawn = [stage.has_drawn() for stage in stages]  # all are asked
        self.drew = any(drawn)
        if rounding is not None:
            self._copies.freeze(indices)
        for passes in passing:  # both ends of a channel note the same
            passes.write(log[0])
        return Evaluation(torch.cat(scores.losses), scores.all_rows(), log)

    def reproduces(
        self,
        order: EvaluateOrder,
        weights: Sequence[torch.Tensor],
        update: Sequence[torch.Tensor],
        batch: int,
        truth: Evaluation,
        times: int,
    ) -> bool:
        """Whether `evaluate` finds the same every time, with new copies of the stages, too."""
        for _ in self._copies.renewed(range(len(weights)), times):
            try:
                again = self.evaluate(order, weights, update, batch)
            except Exception:  # which it did not raise before
                return False
            if not is_equal(again, truth):
                return False
        return True


def is_equal(one: Evaluation, other: Evaluation) -> bool:
    """Whether two evaluations of the same samples are equal to the last bit."""
    return (
        _same_numbers(one.losses, other.losses)
        and _same_numbers(one.rows, other.rows)
        and torch.equal(one.log, other.log)
    )


def _same_numbers(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal to the last bit, and NaN to NaN."""
    alike = (one.shape, one.dtype) == (other.shape, other.dtype)
    return alike and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
