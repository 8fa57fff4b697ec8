"""The five functions of a task."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import torch

from tdml.tasks.pairs import paired

Metric = tuple[torch.Tensor, torch.Tensor]  # of each sample: sums (k,) or (k, m), and counts (k,)


class Task(Protocol):
    """Functions of their arguments alone: a task keeps nothing. Whoever inherits needs to write
    `losses` only.

    A batch is an input of the first stage, (k, …), and targets at the last, one tensor (k, …).
    `output` is what the model returns for such inputs, (k, …) of any floating-point type.
    """

    sample: ClassVar[str] = "(tensor, target)"  # what the data set must return, for messages
    finish: ClassVar[
        Mapping[str, Callable[[torch.Tensor], float]]
    ] = {}  # by metric: from the mean, float64, to what is reported

    def collate(self, samples: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Samples of the data set as inputs and targets, in shapes that all batches share.

        Args:
            samples: a list of them; or a tuple of tensors, where the data set makes batches
                (`__getitems__`). What is drawn here from the global generators is the same whenever
                the batch is read.
        """
        return paired(samples, "target")

    def losses(self, output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """(k,) float32: the loss of each sample; of one with several parts, such as tokens, their
        mean."""
        ...

    def weights(self, targets: torch.Tensor) -> torch.Tensor:
        """(k,) float32: what each sample counts in the mean over a batch: 1, or how many parts it
        has."""
        return torch.ones(len(targets), device=targets.device)

    def metrics(self, output: torch.Tensor, targets: torch.Tensor) -> dict[str, Metric]:
        """What is reported beside the loss, by name. Sums and counts are added over all samples,
        and one divided by the other."""
        return {}

    def strata(self, targets: torch.Tensor) -> torch.Tensor | None:
        """(k,) int64: the class of each sample, where samples of one class are to be compared with
        each other, and shares may be skewed by class (data.partition=dirichlet). None: all with
        all."""
        return None
