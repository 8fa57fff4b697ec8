"""Commit before reveal: the digest that a node is held to, and what is wrong with an update that is none."""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from tdml.digest import digest


def content(update: torch.Tensor) -> str:
    """SHA-256, in hex, of an update's type, shape and bytes."""
    return digest(update).hex()


def commitment(round_number: int, node: str, content: str) -> str:
    """SHA-256, in hex, of an update's content bound to the round and the node: another node's is useless to whoever
    copies it."""
    return hashlib.sha256(f"tdml commitment|{round_number}|{node}|{content}".encode()).hexdigest()


@dataclass(frozen=True)
class Inspection:
    """A node's update at first sight: its content, and what is wrong with it; empty if nothing is. `diverged`: nothing
    but that it is not finite, which honest steps may lead to."""

    content: str
    fault: str
    diverged: bool = False


def inspect(
    update: object, size: int, digest: object, node: str, round_number: int, seen: Mapping[str, int], strict: bool
) -> Inspection:
    """Look at what a node handed in.

    Args:
        update: should be (size,) float32, finite.
        digest: the node's commitment.
        seen: content → the round in which some node handed it in. Honest work is never the same twice, but for
            an update of zeros, where nothing moves.
        strict: whether more than type and shape counts.
    """
    if not is_plain(update, (size,), torch.float32):
        is_tensor = isinstance(update, torch.Tensor)
        kind = f"{update.dtype} of shape {tuple(update.shape)}" if is_tensor else type(update).__name__
        return Inspection("", f"the update is {kind}, not float32 of shape ({size},)")
    if not strict:
        return Inspection("", "")
    found = content(update)
    if digest != commitment(round_number, node, found):
        return Inspection(found, "the update is not the one that it had committed to")
    total = float(update.detach().sum(dtype=torch.float64))  # one pass; finite values cannot overflow it
    if not math.isfinite(total):
        return Inspection(found, "the update has values that are not finite", diverged=True)
    if found in seen and bool(update.any()):
        return Inspection(found, f"the update was handed in before, in round {seen[found]}")
    return Inspection(found, "")


def has_diverged(inspections: Sequence[Inspection]) -> bool:
    """Whether a replica's updates, by stage, are not finite, and that is all that is wrong with them."""
    wrong = [inspection for inspection in inspections if inspection.fault]
    return bool(wrong) and all(inspection.diverged for inspection in wrong)


def training_diverges(diverged: int, replicas: int) -> bool:
    """Whether so many of the replicas have diverged that it is nobody's fault."""
    return 2 * diverged > replicas


def remember(seen: dict[str, int], contents: Sequence[str], round_number: int) -> None:
    """Add a round's contents, one per node, to what was seen; "" is none. What several nodes handed in is not
    remembered: where nothing but a counter moves, the honest agree, in every round anew."""
    counts = Counter(contents)
    seen |= {text: round_number for text, count in counts.items() if text and count == 1 and text not in seen}


def is_plain(value: object, shape: Sequence[int], dtype: torch.dtype) -> bool:
    """Whether what a node sent is a tensor with values, of this shape and type."""
    plain = isinstance(value, torch.Tensor) and value.layout == torch.strided and value.device.type != "meta"
    return plain and value.dtype == dtype and tuple(value.shape) == tuple(shape)
