"""One class a sample."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from tdml.errors import SettingError
from tdml.tasks.base import Metric, Task
from tdml.tasks.pairs import check_class, paired


class Classification(Task):
    """Samples are (tensor, class), with classes from 0; the model returns logits (k, classes)."""

    sample: ClassVar[str] = "(tensor, label)"

    def __init__(
        self, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None
    ) -> None:
        """`class_weights`: what a sample of each class counts in the mean loss; None: all count
        1."""
        if class_weights is not None and not _are_weights(class_weights):
            raise SettingError(
                f"data.weights={class_weights} must be one finite number of at least 0 for each "
                "class, not all 0; or the path of a file (.npy) with one for each training sample"
            )
        self._smoothing, self._class_weights = label_smoothing, class_weights

    def collate(self, samples: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Targets: (k,) int64."""
        inputs, labels = paired(samples, "label", check_class)
        if labels.numel() != len(inputs):
            raise TypeError(f"its label is one of {tuple(labels.shape[1:])}: return its class")
        return inputs, labels.long().reshape(len(inputs))

    def losses(self, output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropies."""
        return F.cross_entropy(
            output.float(), targets, label_smoothing=self._smoothing, reduction="none"
        )

    def weights(self, targets: torch.Tensor) -> torch.Tensor:
        """Those of their classes."""
        if self._class_weights is None:
            return super().weights(targets)
        return torch.tensor(self._class_weights, device=targets.device)[targets]

    def batch_mean(
        self, output: torch.Tensor, targets: torch.Tensor, total: torch.Tensor
    ) -> torch.Tensor:
        """Where all samples count alike a micro-batch's share is its size: as torch takes it, to
        the bit, where micro-batches are a power of two."""
        kind = type(self)
        own = kind.losses is not Classification.losses or kind.weights is not Classification.weights
        if own or self._class_weights is not None:
            return (self.losses(output, targets) * self.weights(targets)).sum() / total
        share = len(targets) / total
        return F.cross_entropy(output.float(), targets, label_smoothing=self._smoothing) * share

    def metrics(self, output: torch.Tensor, targets: torch.Tensor) -> dict[str, Metric]:
        """Accuracy."""
        right = (output.argmax(dim=1) == targets).double()
        return {"accuracy": (right, torch.ones_like(right))}

    def strata(self, targets: torch.Tensor) -> torch.Tensor:
        """The classes."""
        return targets

    def check_output(self, shape: torch.Size, strata: list[int] | None) -> None:
        """
        Args:
            shape: of the output for a micro-batch.
            strata: of all samples. None: who inherits from this has none, such as for mixed labels.

        Raises:
            SettingError: there are fewer outputs or weights than classes, or more weights than
                outputs.
        """
        if strata is None:
            return
        classes, found = 1 + max(strata), len(set(strata))
        if len(shape) != 2 or shape[1] < classes:
            numbers = f"{found} different numbers from {min(strata)} to {max(strata)}"
            gaps = f": its labels are {numbers}: number them from 0" if found < classes else ""
            raise SettingError(
                "model.num_classes (of model=hf: model.num_labels): the model returns "
                f"{tuple(shape)}, but the data has {classes} classes and needs (batch, {classes})"
                f"{gaps}"
            )
        weights = self._class_weights
        if weights is not None and not classes <= len(weights) <= shape[1]:
            raise SettingError(
                f"data.weights={list(weights)}: the data has {classes} classes, and the model "
                f"returns {shape[1]} numbers: give a weight for each class"
            )


def _are_weights(given: Any) -> bool:
    """Whether they can be those of classes."""
    if not isinstance(given, Sequence) or isinstance(given, str):
        return False
    kinds = all(isinstance(weight, int | float) for weight in given)
    return kinds and all(0 <= weight < math.inf for weight in given) and any(given)
