"""Tokens that are hidden from the model."""

from typing import Any

import torch

from tdml.errors import SettingError
from tdml.tasks.language import Language
from tdml.tasks.sequences import IGNORED, is_id, padded, readable


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
        if not is_id(mask_token):
            raise SettingError(
                f"task.mask_token={mask_token} must be the id that hides a token, a whole number "
                "from 0"
            )
        if not isinstance(share, float) or not 0 < share < 1:
            raise SettingError(
                f"task.share={share} must be a share of the tokens between 0 and 1, such as 0.15"
            )
        self._mask_token, self._share, self._length = mask_token, share, context

    def collate(self, samples: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs: (k, t) int64; targets: what is hidden, −100 elsewhere."""
        ids = padded(samples, self._length, cut=True, padding=self._padding)
        hidden = (torch.rand(ids.shape) < self._share) & (ids != IGNORED)
        inputs = readable(ids, self._padding).masked_fill(hidden, self._mask_token)
        return inputs, ids.masked_fill(~hidden, IGNORED)
