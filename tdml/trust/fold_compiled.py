"""The sums of a block on a processor, compiled by numba: one call for many columns, for whoever
waits for the interpreter's lock waits longer than a few columns take."""

from collections.abc import Sequence

import numpy as np
import torch

from tdml.common.compiling import njit
from tdml.trust.ranking_compiled import _add_leads, addresses, jit, row

_RUN = 1 << 13  # coordinates at a time: of a few rows they stay in the cache
_LIKE = np.empty(0, np.float32)


def fold(rows: Sequence[torch.Tensor], start: int, stop: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Fold some columns of n contiguous float32 rows: the sums of leads and of squared leads,
    (2, n) int64; scalar products, (n, n) float64; and how many columns are not all the same."""
    count = len(rows)
    padded = addresses([*rows, *[rows[-1]] * (-count % 4)])  # four rows are taken at a time
    leads, products = np.zeros((2, count), np.int64), np.zeros((len(padded), len(padded)))
    unlike = _fold(padded, start, stop, _LIKE, leads, products)
    products = products[:count, :count]
    return leads, np.triu(products) + np.triu(products, 1).T, unlike


@njit(fastmath={"reassoc", "contract"})  # or every sum would wait for the one before it
def _dot(x, a, b, d, e):
    """The scalar products of x with four rows."""
    xa = xb = xd = xe = 0.0
    for c in range(x.size):
        value = np.float64(x[c])  # whose products even absurd updates cannot overflow
        xa += value * a[c]
        xb += value * b[c]
        xd += value * d[c]
        xe += value * e[c]
    return np.array((xa, xb, xd, xe))


@njit
def _differ(x, y, unlike):
    for c in range(x.size):
        unlike[c] |= np.uint8(x[c] != y[c])


@jit
def _fold(places, start, stop, like, leads, products):
    """Add to the leads, and the products of rows j ≤ i to products[j, i]; the number of columns
    that are unlike."""
    marks, unlike = np.empty(_RUN, np.uint8), 0
    for a in range(start, stop, _RUN):
        b = min(stop, a + _RUN)
        _add_leads(places, a, b, like, leads)
        marked = marks[: b - a]
        marked[:] = 0
        for i in range(1, places.size):
            _differ(row(places[0], a, b, like), row(places[i], a, b, like), marked)
        unlike += int(np.sum(marked))
        for i in range(0, places.size, 4):
            p, q = row(places[i], a, b, like), row(places[i + 1], a, b, like)
            r, s = row(places[i + 2], a, b, like), row(places[i + 3], a, b, like)
            for j in range(i + 4):
                products[j, i : i + 4] += _dot(row(places[j], a, b, like), p, q, r, s)
    return unlike
