"""The parameters that a stage does not train. They stay the same for the whole job, so a node is
sent only those that it was not sent before, and does not find in the model's own folder."""

import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import compress
from typing import TYPE_CHECKING

import torch

from tdml.common.digest import digest
from tdml.protocol.statement import Digest

if TYPE_CHECKING:
    from tdml.node.stage import Stage


class Frozen:
    """What a node has of the frozen parameters, in one slot after the other.

    Args:
        seconds: how long it may look for them on its disk, which may be slow: a node that is silent
            counts as dead.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._held: dict[Digest, torch.Tensor] = {}  # in the last slot
        self._missing: list[torch.Tensor] = []

    def find(self, stage: "Stage", wanted: Sequence[Digest]) -> tuple[bool, ...]:
        """Put the frozen parameters into a stage, as far as they are here.

        Args:
            wanted: their digests, in the order of `stage.frozen`.

        Returns:
            For each whether it is missing.
        """
        tensors, until = stage.frozen, time.monotonic() + self._seconds
        missing = [True] * len(tensors)
        for source in (lambda: map(self._held.get, wanted), stage.stored):
            # whatever is wrong with a folder, or with a user's `stored`: what is missing is sent
            with suppress(Exception):
                for i, value in enumerate(source()):
                    if time.monotonic() > until:
                        break
                    if missing[i] and value is not None:
                        tensors[i].copy_(value)
                        # hashed as it is here now: the file may be written to meanwhile
                        missing[i] = digest(tensors[i].detach().float()).hex() != wanted[i]
        self._held = dict(zip(wanted, tensors, strict=True))
        self._missing = [*compress(tensors, missing)]
        return tuple(missing)

    def complete(self, values: Sequence[torch.Tensor]) -> None:
        """Put in the parameters that were missing."""
        for tensor, value in zip(self._missing, values, strict=True):
            tensor.copy_(value)
