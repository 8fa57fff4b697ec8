"""Numbers."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from tdml.common.dtypes import rounds_to_few
from tdml.errors import SettingError
from tdml.tasks.base import Metric, Task
from tdml.tasks.pairs import paired

_LOSSES = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.smooth_l1_loss}


def _r2(means: torch.Tensor) -> float:
    """From the means of squared error, of squared target, and of each of the targets."""
    error, square, *targets = means.tolist()
    variance = square - sum(mean**2 for mean in targets)
    return 1 - error / variance if variance > 0 else float("nan")


class Regression(Task):
    """Samples are (tensor, numbers), a number or (d,); the model returns (k, d), or (k,).

    Args:
        loss: mse, mae or huber; the mean over a sample's numbers.
    """

    finish: ClassVar[Mapping[str, Callable[[torch.Tensor], float]]] = {"r2": _r2}

    def __init__(self, loss: str = "mse") -> None:
        self._loss = _LOSSES[loss]

    def collate(self, samples: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Targets: (k, d) float32."""
        inputs, targets = paired(samples, "target")
        targets = targets.reshape(len(targets), -1)
        if any(map(_rounds_to_few, targets.unbind(dim=1))):
            raise ValueError(
                "targets that differ are the same in float32: return them from about -1 to 1, such "
                "as less their mean and divided by their deviation"
            )
        targets = targets.float()
        if not targets.isfinite().all():
            raise ValueError("its target is not finite: leave it out")
        return inputs, targets

    def losses(self, output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean over the numbers of a sample."""
        return self._loss(_like(output, targets), targets, reduction="none").mean(dim=1)

    def metrics(self, output: torch.Tensor, targets: torch.Tensor) -> dict[str, Metric]:
        """The mean absolute error, and the share of the variance that is explained."""
        output, targets = _like(output, targets).double(), targets.double()
        errors = output - targets
        sums = torch.stack(
            [errors.square().sum(dim=1), targets.square().sum(dim=1), *targets.unbind(dim=1)], dim=1
        )
        ones = torch.ones(len(targets), dtype=torch.float64)
        return {"mae": (errors.abs().mean(dim=1), ones), "r2": (sums, ones)}

    def check_output(self, shape: torch.Size, strata: list[int] | None) -> None:
        """Raises SettingError: it is not one row of numbers a sample."""
        if len(shape) > 2:
            raise SettingError(
                f"task=regression: the model returns {tuple(shape)}, and (batch, numbers) is needed"
            )


def _rounds_to_few(numbers: torch.Tensor) -> bool:
    """Of two samples that chance has put together one may be all but the other."""
    return len(numbers.double().unique()) > 2 and rounds_to_few(numbers)


def _like(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    output = output.float().reshape(len(output), -1)
    if output.shape != targets.shape:
        raise ValueError(
            f"the model returns {output.shape[1]} numbers a sample, the data have "
            f"{targets.shape[1]}"
        )
    return output
