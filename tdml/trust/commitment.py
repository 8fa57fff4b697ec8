"""Commit before reveal: the digest that a node is held to."""

import hashlib

import torch


def commitment(round_number: int, node: str, update: torch.Tensor) -> str:
    """SHA-256, in hex, of an update's type, shape and bytes, bound to the round and the node.

    The binding makes another node's commitment useless to whoever copies it.
    """
    digest = hashlib.sha256(f"tdml update|{round_number}|{node}|{update.dtype}|{tuple(update.shape)}|".encode())
    digest.update(update.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
