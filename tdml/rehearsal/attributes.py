"""State that a model keeps where nobody exchanges it: in plain attributes, beside parameters and
buffers."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from tdml.common.comparable import comparable

_OF_TORCH = frozenset(vars(nn.Module()))

Snapshot = dict[tuple[int, str], Any]  # by block and the attribute's name


def snapshot(blocks: Sequence[nn.Module]) -> Snapshot:
    """What the blocks keep in plain attributes, as far as it can be compared."""
    attributes: Snapshot = {}
    for number, block in enumerate(blocks):
        for prefix, module in block.named_modules():
            for name, value in vars(module).items():
                if name not in _OF_TORCH:
                    attributes[number, f"{prefix}.{name}" if prefix else name] = comparable(value)
    return attributes


def changed(before: Snapshot, after: Snapshot) -> tuple[int, str] | None:
    """Block and name of the first attribute that is another."""
    return next(
        (key for key, value in after.items() if key in before and before[key] != value), None
    )
