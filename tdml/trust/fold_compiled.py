"""Scalar products on a processor, and which coordinates are unlike, compiled by numba."""

import numpy as np
from numba import njit

from tdml.trust.ranking_compiled import jit

_RUN = 1 << 13  # coordinates at a time: of a few rows they stay in the cache


def products(values: np.ndarray, count: int, columns: int) -> tuple[np.ndarray, int]:
    """Of the first `columns` of `count` of n float32 rows, n a multiple of four: their scalar
    products, (count, count) float64, and in how many columns they are not all the same."""
    found = np.zeros((len(values), len(values)))
    unlike = _look(values, count, columns, found)
    found = found[:count, :count]
    return np.triu(found) + np.triu(found, 1).T, unlike


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
def _look(values, count, columns, found):
    """Add the products of rows j ≤ i to found[j, i]; the number of columns that are unlike."""
    marks, unlike = np.empty(_RUN, np.uint8), 0
    for a in range(0, columns, _RUN):
        b = min(columns, a + _RUN)
        marked = marks[: b - a]
        marked[:] = 0
        for i in range(1, count):
            _differ(values[0, a:b], values[i, a:b], marked)
        unlike += int(np.sum(marked))
        for i in range(0, len(values), 4):
            # slices of rows, not of the whole: so the compiler knows neighbours to be neighbours
            rows = values[i, a:b], values[i + 1, a:b], values[i + 2, a:b], values[i + 3, a:b]
            for j in range(i + 4):
                found[j, i : i + 4] += _dot(values[j, a:b], rows[0], rows[1], rows[2], rows[3])
    return unlike
