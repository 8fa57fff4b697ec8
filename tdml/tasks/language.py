"""The next token."""

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from tdml.tasks.base import Metric, Task
from tdml.tasks.sequences import (
    IGNORED,
    by_sequence,
    check_logits,
    padded,
    readable,
)


class Language(Task):
    """Samples are token ids, (t,) whole numbers; the model returns logits (k, t − 1, vocabulary).

    Args:
        context: shorter samples are filled up to context + 1 tokens, on the right, which counts
            nothing. None: all are equally long.
        padding: the id with which the data set has filled samples up, which counts nothing.
    """

    sample: ClassVar[str] = "token ids"
    finish: ClassVar[Mapping[str, Callable[[torch.Tensor], float]]] = {"perplexity": math.exp}

    def __init__(
        self,
        context: int | None = None,
        label_smoothing: float = 0.0,
        padding: int | None = None,
    ) -> None:
        self._length, self._smoothing = context and context + 1, label_smoothing
        self._padding = padding

    def collate(self, samples: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs: all tokens but the last, (k, t) int64; targets: all but the first, −100 where
        there is none."""
        ids = padded(samples, self._length, padding=self._padding)
        return readable(ids[:, :-1], self._padding), ids[:, 1:].contiguous()

    def losses(self, output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean cross-entropy of a sequence's tokens."""
        return by_sequence(_each(output, targets, self._smoothing), targets)

    def weights(self, targets: torch.Tensor) -> torch.Tensor:
        """How many tokens of a sequence count."""
        return (targets != IGNORED).sum(dim=1).float()

    def metrics(self, output: torch.Tensor, targets: torch.Tensor) -> dict[str, Metric]:
        """Perplexity, and the share of tokens that were the most probable."""
        tokens = self.weights(targets).double()
        nats = _each(output, targets, 0.0).double().sum(dim=1)
        right = (output.argmax(dim=-1) == targets).sum(dim=1).double()
        return {"perplexity": (nats, tokens), "token_accuracy": (right, tokens)}

    def check_output(self, shape: torch.Size, strata: list[int] | None) -> None:
        """Raises SettingError: it is not one of logits for every token."""
        check_logits(shape, type(self).__name__.lower())


def _each(output: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    """(k, t) float32: cross-entropies, 0 where there is no target."""
    flat = F.cross_entropy(
        output.float().flatten(0, 1),
        targets.flatten(),
        ignore_index=IGNORED,
        reduction="none",
        label_smoothing=smoothing,
    )
    return flat.view(targets.shape)
