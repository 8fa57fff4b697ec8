"""The digest of a model's weights."""

import hashlib
from collections.abc import Mapping

import torch

from tdml.protocol.statement import canonical


def digest_of_weights(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256, in hex, of a plain state dict: its sorted names with types and shapes, then the
    bytes of all tensors in that order. The device does not matter.

    Raises:
        ValueError: a name is no string, or a value is no dense tensor.
    """
    for name, tensor in state.items():
        dense = (
            isinstance(tensor, torch.Tensor)
            and tensor.layout == torch.strided
            and tensor.device.type != "meta"
        )
        if not isinstance(name, str) or not dense or tensor.is_quantized:
            raise ValueError(f"{name!r} is no dense tensor with a name")
    names = sorted(state)
    table = [[name, str(state[name].dtype), list(state[name].shape)] for name in names]
    digest = hashlib.sha256(canonical({"weights": table}))
    for name in names:
        flat = state[name].detach().cpu().contiguous().view(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
