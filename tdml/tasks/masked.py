"""Tokens that are hidden from the model."""

from typing import Any

import torch

from tdml.tasks.language import Language
from tdml.tasks.sequences import IGNORED, padded, readable


class Masked(Language):
    """Samples are token ids, (t,) whole numbers; the model returns logits (k, t, vocabulary).

    Args:
        mask_token: the id that hides a token.
        share: of the tokens that are hidden (Devlin et al., arXiv 1810.04805), drawn anew for every
            batch.
        context: of each sample so many tokens are taken, shorter ones are filled up. None: all are
            equally long.
        padding: the id with which the data set has filled samples up, which is never hidden.
    """

    def __init__(
        self,
        mask_token: int,
        share: float = 0.15,
        context: int | None = None,
        label_smoothing: float = 0.0,
        padding: int | None = None,
    ) -> None:
        super().__init__(context, label_smoothing, padding)
        self._mask_token, self._share, self._length = mask_token, share, context

    def collate(self, samples: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs: (k, t) int64; targets: what is hidden, −100 elsewhere."""
        ids = padded(samples, self._length, cut=True, padding=self._padding)
        hidden = (torch.rand(ids.shape) < self._share) & (ids != IGNORED)
        inputs = readable(ids, self._padding).masked_fill(hidden, self._mask_token)
        return inputs, ids.masked_fill(~hidden, IGNORED)
