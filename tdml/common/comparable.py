"""What an object holds, as something that can be compared with what it holds later."""

import inspect
import io
import pickle
from typing import Any

import torch
from torch import nn

from tdml.common.digest import digest


def comparable(value: Any) -> bytes | None:
    """What compares as the value does; None for what cannot be looked into."""
    file = io.BytesIO()
    try:
        _Pickler(file).dump(value)
    except Exception:  # of a user's object anything may come
        return None
    return file.getvalue()


class _Pickler(pickle.Pickler):
    """Modules are looked into by themselves; of what has no state, only the kind counts."""

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.layout is torch.strided and not value.is_meta:
            return digest(value.detach())
        if isinstance(value, torch.Generator):
            return value.get_state().numpy().tobytes()
        if hasattr(value, "__next__"):
            return repr(value)  # itertools.count tells where it is
        if isinstance(value, torch.Tensor | nn.Module | type) or inspect.isroutine(value):
            return type(value).__name__
        try:
            value.__reduce_ex__(pickle.DEFAULT_PROTOCOL)
        except Exception:  # such as a lock
            return type(value).__name__
        return None
