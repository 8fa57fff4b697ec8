"""Names beside the ends of lines in a figure, such that none covers another."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import isotonic_regression


def spread(values: Sequence[float], least: float, low: float, high: float) -> list[float]:
    """The values moved apart until neighbours lie at least `least` from each other, and into [low,
    high] if they have room there. Those that crowd stay centred on where they were, together. In
    the order of `values`."""
    if not values:
        return []
    order = np.argsort(values, kind="stable")
    distances = least * np.arange(len(values))  # from the first, where all lie as near as they may
    last = high - distances[-1]  # where the first may lie at most
    if last < low:
        low = last = (low + last) / 2

    # how far each is beyond its least distance never falls from one to the next
    beyond = isotonic_regression(np.asarray(values)[order] - distances).x.clip(low, last)
    positions = np.empty(len(values))
    positions[order] = beyond + distances
    return positions.tolist()


def shorten(names: Sequence[str]) -> tuple[str, list[str]]:
    """The words with which all names begin, as a title, and the names without them. Words have
    hyphens between them, and every name keeps one at least."""
    words = [name.split("-") for name in names]
    shared = 0
    while (
        all(len(parts) > shared + 1 for parts in words)
        and len({parts[shared] for parts in words}) == 1
    ):
        shared += 1
    return " · ".join(words[0][:shared]) if words else "", [
        "-".join(parts[shared:]) for parts in words
    ]
