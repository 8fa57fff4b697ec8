"""Evaluation: a batch on its way through the stages, and the scores at its end."""

import torch

from tdml.node.messages import Passing
from tdml.tasks import Task
from tdml.tasks.measures import losses_of, rows_of


class Scores:
    """The results of an evaluation at the last stage: losses, and rows of the task's measures."""

    def __init__(self, task: Task, with_rows: bool) -> None:
        self.task, self.with_rows = task, with_rows
        self.losses = [torch.empty(0)]
        self.rows: list[torch.Tensor] = []

    def all_rows(self) -> torch.Tensor:
        """(k, columns) float64; empty where none are wanted."""
        return torch.cat(self.rows) if self.rows else torch.empty(0, 0, dtype=torch.float64)


class EvaluationBatch:
    """A batch that is evaluated: inputs at the first stage, targets at the last. A batch that is
    padded has fewer targets than places."""

    def __init__(
        self,
        inputs: torch.Tensor | None,
        targets: torch.Tensor | None,
        passing: Passing | None,
        scores: Scores,
    ) -> None:
        self.inputs, self.passing = inputs, passing
        self._targets, self._scores = targets, scores

    def observe(self, output: torch.Tensor, places: torch.Tensor) -> None:
        """Score what the model returns for a micro-batch, whose samples have these places in the
        batch."""
        assert self._targets is not None  # the last stage reads them
        places = places.cpu()
        right = self._targets[places[places < len(self._targets)]]
        output, scores = output[: len(right)].float().cpu(), self._scores
        if len(right):
            scores.losses.append(losses_of(scores.task, output, right))
            scores.rows += [rows_of(scores.task, output, right)] if scores.with_rows else []
