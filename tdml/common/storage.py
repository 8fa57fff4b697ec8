"""Tensors that share no storage with others."""

import torch


def alone(tensor: torch.Tensor) -> torch.Tensor:
    """The same bytes, where a contiguous tensor in host memory is a part of a larger storage, as a
    storage of their own; nothing is copied.

    RPC copies what is a small part of a larger storage, on its own threads and by OpenMP. Where
    OpenMP has more threads than there are processors they no longer spin for each other, but sleep,
    and the thread that trains, whose loops are short, loses a fifth of its time.
    """
    elsewhere = tensor.layout is not torch.strided or tensor.device.type != "cpu"
    if elsewhere or not 0 < tensor.nbytes < tensor.untyped_storage().nbytes():
        return tensor
    raw = tensor.detach().view(-1).view(torch.uint8).numpy()
    return torch.frombuffer(raw, dtype=tensor.dtype).view(tensor.shape)
