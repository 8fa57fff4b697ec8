"""What an object holds, as something that can be compared with what it holds later."""

import inspect
import io
import pickle
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from tdml.common.digest import digest


def comparable(value: Any) -> bytes | None:
    """What compares as the value does; None for what cannot be looked into."""
    for fast in (True, False):  # whether equal values are one object matters only in a circle
        file = io.BytesIO()
        pickler = _Pickler(file)
        pickler.fast = fast
        with suppress(Exception):  # of a user's object anything may come
            pickler.dump(value)
            return file.getvalue()
    return None


class _Pickler(pickle.Pickler):
    """Modules are looked into by themselves; of what has no state, only the kind counts."""

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, int | float | str):
            return None  # at once, for there may be very many
        if isinstance(value, torch.Tensor) and value.layout is torch.strided and not value.is_meta:
            return digest(value.detach())
        if isinstance(value, torch.Generator):
            return value.get_state().numpy().tobytes()
        if isinstance(value, set | frozenset):
            return sorted(map(repr, value))
        if hasattr(value, "__next__"):
            return repr(value)  # itertools.count tells where it is
        return None if _has_state(value) else type(value).__name__


def _has_state(value: Any) -> bool:
    """Whether it is to be looked into, and can be."""
    if isinstance(value, torch.Tensor | nn.Module | type) or inspect.isroutine(value):
        return False
    try:
        value.__reduce_ex__(pickle.DEFAULT_PROTOCOL)
    except Exception:  # such as a lock
        return False
    return True
