"""The digest of a tensor, by which it is signed, committed to and found again.

BLAKE3, for everything that travels is hashed at both ends: SHA-256 takes nearly three times as
long, and longer than the transfer itself.
"""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from blake3 import blake3
from torch.utils.weak import WeakIdKeyDictionary

# Weights, states and updates are asked for several times a round: by the channel, the commitment
# and the audit.
_known: WeakIdKeyDictionary = WeakIdKeyDictionary()
_lock = threading.Lock()
_MOST_THREADS = 16  # more would wait for the memory


def digest(tensor: torch.Tensor) -> bytes:
    """BLAKE3 of a dense tensor's type, shape and bytes. It is computed once, unless the tensor is
    changed in place."""
    with _lock:
        version, known = _known.get(tensor, (-1, b""))
    if version == tensor._version:
        return known
    version = tensor._version
    hasher = blake3(f"tdml tensor|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
    hasher.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    with _lock:
        _known[tensor] = (version, hasher.digest())
    return hasher.digest()


def digests(tensors: Sequence[torch.Tensor]) -> list[bytes]:
    """Of several at once, in as many threads as there are processors: hashing lets go of the
    interpreter."""
    if len(tensors) < 2:
        return [digest(tensor) for tensor in tensors]
    with ThreadPoolExecutor(min(len(tensors), len(os.sched_getaffinity(0)), _MOST_THREADS)) as pool:
        return list(pool.map(digest, tensors))
