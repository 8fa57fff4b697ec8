"""The sums of a block on a processor, compiled by numba: one call for many columns, for whoever
waits for the interpreter's lock waits longer than a few columns take."""

from collections.abc import Sequence

import numpy as np
import torch
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from tdml.trust.ranking_compiled import _add_leads, jit

_RUN = 1 << 13  # coordinates at a time: of a few rows they stay in the cache


def fold(
    rows: Sequence[torch.Tensor], start: int, stop: int, width: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Of some columns of n contiguous float32 rows, `width` at a time: the sums of their leads and
    squared leads, (2, n) int64; scalar products, (n, n) float64; in how many they are unlike."""
    count = len(rows)
    padded = -(-count // 4) * 4  # four rows are taken at a time
    copied = np.zeros((padded, width), np.float32)
    leads, products = np.zeros((2, count), np.int64), np.zeros((padded, padded))
    addresses = np.array([row.data_ptr() for row in rows], np.uint64)
    unlike = _fold(addresses, start, stop, copied, leads, products)
    products = products[:count, :count]
    return leads, np.triu(products) + np.triu(products, 1).T, unlike


@intrinsic
def _pointer(context, address):
    """A number as a pointer, for numba takes no list of arrays without compiling for its length."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


@njit
def _copy(source, target):
    for c in range(source.size):
        target[c] = source[c]


@jit
def _fold(addresses, start, stop, copied, leads, products):
    """Add to the sums; the number of columns that are unlike."""
    count, width, unlike = addresses.size, copied.shape[1], 0
    for a in range(start, stop, width):
        b = min(stop, a + width)
        for i in range(count):
            row = carray(_pointer(addresses[i]), stop, np.float32)  # type: ignore[call-arg]
            _copy(row[a:b], copied[i, : b - a])
        _add_leads(copied.reshape(-1), width, b - a, leads)
        unlike += _look(copied, count, b - a, products)
    return unlike


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
