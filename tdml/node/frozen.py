"""What a stage does not train stays the same for all of a job. So a node is sent only what it has
neither been sent before nor finds in the folder that the model comes from."""

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
    """What a node has of it, in one slot after the other. `seconds` is for how long it may look:
    who is silent counts as dead, and a disk may be slow."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._held: dict[Digest, torch.Tensor] = {}  # in the last slot
        self._missing: list[torch.Tensor] = []

    def find(self, stage: "Stage", wanted: Sequence[Digest]) -> tuple[bool, ...]:
        """Put into a stage what it is to have, by digest, as far as it is here. Returns what is
        missing."""
        tensors, until = stage.frozen, time.monotonic() + self._seconds
        missing = [True] * len(tensors)
        for source in (lambda: map(self._held.get, wanted), stage.stored):
            # whatever is wrong with a folder, or called so in a user's model, the rest is sent
            with suppress(Exception):
                for i, value in enumerate(source()):
                    if time.monotonic() > until:
                        break
                    if missing[i] and value is not None:
                        tensors[i].copy_(value)
                        # as it is here now: a file may be written to meanwhile
                        missing[i] = digest(tensors[i].detach().float()).hex() != wanted[i]
        self._held = dict(zip(wanted, tensors, strict=True))
        self._missing = [*compress(tensors, missing)]
        return tuple(missing)

    def complete(self, values: Sequence[torch.Tensor]) -> None:
        """Put in what was missing."""
        for tensor, value in zip(self._missing, values, strict=True):
            tensor.copy_(value)
