"""What a block uses, and no stage was given memory for."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves


class NoneLeftBehind(TorchFunctionMode):
    """Has torch refuse to compute with a tensor that has no memory beside one that has: of a linear
    layer's weight it would take whatever lies there.

    Raises:
        RuntimeError: it was to.
    """

    def __torch_function__(
        self,
        func: Callable,
        types: Iterable[type],
        args: tuple = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        tensors = [v for v in tree_leaves((args, kwargs)) if isinstance(v, torch.Tensor)]
        if len({tensor.is_meta for tensor in tensors}) > 1:
            raise RuntimeError(f"{func.__name__} takes a tensor that is on the meta device")
        return func(*args, **(kwargs or {}))
