"""What an object holds, as something that can be compared with what it holds later."""

import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from tdml.common.digest import digest

_DEEPEST = 4  # containers and objects within one another that are looked into
_MOST = 1000  # elements of a container
_NUMBERS = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type(None),
    torch.dtype,
    torch.Size,
    torch.device,
)


def comparable(value: Any) -> Any:
    """Something that compares as the value does; None for what is not looked into."""
    return _plain(value, _DEEPEST)


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, _NUMBERS):
        return repr(value)
    if isinstance(value, torch.Tensor):
        return (
            None if value.is_meta or value.layout is not torch.strided else digest(value.detach())
        )
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.str, value.shape, value.tobytes()
    if (state := _generator_state(value)) is not None:
        return state
    if depth == 0 or isinstance(value, nn.Module | type):
        return None
    return _inside(value, depth - 1)


def _generator_state(value: Any) -> Any:
    if isinstance(value, torch.Generator):
        return value.get_state().numpy().tobytes()
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    return repr(value.get_state()) if isinstance(value, np.random.RandomState) else None


def _inside(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return [(repr(key), _plain(item, depth)) for key, item in _first(value.items())]
    if isinstance(value, list | tuple | deque):
        return [_plain(item, depth) for item in _first(value)]
    if isinstance(value, set | frozenset):
        return sorted(repr(item) for item in _first(value))
    if hasattr(value, "__next__"):
        return repr(value)  # itertools.count tells where it is
    return [(name, _plain(item, depth)) for name, item in _first(_attributes(value))]


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """In its dict, and in the slots of its class and of those that it derives from."""
    yield from getattr(value, "__dict__", {}).items()
    for each in type(value).__mro__:
        slots = vars(each).get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            if hasattr(value, name):
                yield name, getattr(value, name)


def _first(items: Iterable[Any]) -> list[Any]:
    return [item for item, _ in zip(items, range(_MOST), strict=False)]
