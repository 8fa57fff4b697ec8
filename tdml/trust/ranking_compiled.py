"""The sums of leads on a processor, compiled by numba; each value is read from memory once.

A replica's lead at a coordinate is the number of values below its own less the number above it.
Rows are compared four against four, eight coordinates at a time, with five instructions a pair. NaN
is neither above nor below anything: rows and coordinates that fill up a block are NaN and change
nothing. A sort would be faster only for more than some 500 replicas.

Only the coordinator needs numba, and importing it takes a third of a second: import this module
where it is used.
"""

import contextlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from tdml.common.columns import deal
from tdml.common.compiling import njit

_WIDTH = 256  # coordinates at a time: those of 100 replicas fit into a core's second cache
PART = 1 << 18  # coordinates that a thread takes at a time
_STAGED = 1 << 13  # coordinates converted at a time
_INT = np.int32


def lead_sums(updates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums over the coordinates of the leads and of the squared leads, (n,) int64 each.

    Args:
        updates: (n, d) of any floating dtype, on the CPU, without NaN. Rows that lie in memory as
            float32 or float64 are read where they are, others are converted a block at a time.
    """
    updates, (replicas, coordinates) = updates.detach(), updates.shape
    parts = deal(lambda start, stop: _of_part(updates[:, start:stop]), coordinates, PART)
    total, squares = torch.from_numpy(sum(parts, np.zeros((2, replicas), np.int64)))
    return total, squares


def _of_part(updates: torch.Tensor) -> np.ndarray:
    """The sums of (n, k) updates: (2, n) int64."""
    sums = np.zeros((2, len(updates)), np.int64)
    wide = torch.float64 if updates.dtype == torch.float64 else torch.float32
    like = torch.empty(0, dtype=wide).numpy()
    for block in updates.split(_STAGED, dim=1):
        rows = [row.to(wide).contiguous() for row in block]  # mostly as they are
        _add_leads(addresses(rows), 0, block.shape[1], like, sums)
    return sums


def addresses(rows: Sequence[torch.Tensor] | torch.Tensor) -> np.ndarray:
    """Where n rows lie, each value by value: numba takes a list of arrays only when it may compile
    for its length."""
    return np.array([row.data_ptr() for row in rows], np.uint64)


def jit(function: Callable) -> Callable:
    """Compile without holding the interpreter's lock; keep the machine code on disk where that is
    possible.

    It is kept beside this file or in the user's cache folder. Where neither can be written, every
    process compiles for itself.
    """
    with contextlib.suppress(RuntimeError):
        return njit(nogil=True, cache=True)(function)
    return njit(nogil=True)(function)


@intrinsic
def _pointer(context, address):
    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


@njit
def row(address, start, stop, like):
    """Some values of the row at an address, of the type that `like` has."""
    return carray(_pointer(address), stop, like.dtype)[start:stop]  # type: ignore[call-arg]


@njit
def _sign(a, b):
    """1 where a > b, −1 where a < b, else 0."""
    # All arithmetic here is cut to the 32 bits of a float32: in numba's own 64 half as many would
    # fit a register.
    return _INT(_INT(a > b) - _INT(a < b))


# Helpers are short, or the compiler would call them for every coordinate instead of taking eight at
# a time.
@njit
def _meet(x, a, b, d, e):
    """The leads over x of each of four values, and their sum: what x lacks."""
    ax, bx, dx, ex = _sign(a, x), _sign(b, x), _sign(d, x), _sign(e, x)
    return ax, bx, dx, ex, _INT(ax + bx + dx + ex)


@njit
def _meet_each_other(a, b, d, e):
    """The leads of four values over the other three."""
    ab, ad, ae, bd, be, de = (
        _sign(a, b),
        _sign(a, d),
        _sign(a, e),
        _sign(b, d),
        _sign(b, e),
        _sign(d, e),
    )
    return _INT(ab + ad + ae), _INT(bd + be - ab), _INT(de - ad - bd), _INT(-ae - be - de)


@njit
def _copy(source, target):
    for c in range(source.size):
        target[c] = source[c]


@njit
def _set_tile(values, leads, i):
    """Set the leads of rows i to i + 3 over each other."""
    for c in range(_WIDTH):
        a, b, d, e = values[i, c], values[i + 1, c], values[i + 2, c], values[i + 3, c]
        leads[i, c], leads[i + 1, c], leads[i + 2, c], leads[i + 3, c] = _meet_each_other(
            a, b, d, e
        )


@njit
def _add_tiles(values, leads, i, j):
    """Add the leads of rows i to i + 3 over rows j to j + 3, and the other way round."""
    for c in range(_WIDTH):
        a, b, d, e = values[i, c], values[i + 1, c], values[i + 2, c], values[i + 3, c]
        ax, bx, dx, ex, minus_x = _meet(values[j, c], a, b, d, e)
        ay, by, dy, ey, minus_y = _meet(values[j + 1, c], a, b, d, e)
        az, bz, dz, ez, minus_z = _meet(values[j + 2, c], a, b, d, e)
        aw, bw, dw, ew, minus_w = _meet(values[j + 3, c], a, b, d, e)
        leads[i, c] += ax + ay + az + aw
        leads[i + 1, c] += bx + by + bz + bw
        leads[i + 2, c] += dx + dy + dz + dw
        leads[i + 3, c] += ex + ey + ez + ew
        leads[j, c] -= minus_x
        leads[j + 1, c] -= minus_y
        leads[j + 2, c] -= minus_z
        leads[j + 3, c] -= minus_w


@njit
def _sum(leads):
    # the squares of thousands of replicas need more than 32 bits
    total, squares = _INT(0), np.int64(0)
    for c in range(_WIDTH):
        total = _INT(total + leads[c])
        squares += leads[c] * leads[c]
    return total, squares


@jit
def _add_leads(addresses, start, stop, like, sums):
    """Add those of some coordinates: four rows against four, on a copy of a block that stays in the
    cache."""
    replicas = sums.shape[1]
    rows = (replicas + 3) // 4 * 4
    values = np.full((rows, _WIDTH), np.nan, like.dtype)
    leads = np.empty((rows, _WIDTH), np.int32)
    for a in range(start, stop, _WIDTH):
        b = min(stop, a + _WIDTH)
        values[:, b - a :] = np.nan
        for i in range(replicas):
            _copy(row(addresses[i], a, b, like), values[i])
        for i in range(0, rows, 4):
            _set_tile(values, leads, i)
            for j in range(0, i, 4):
                _add_tiles(values, leads, i, j)
        for i in range(replicas):
            total, squares = _sum(leads[i])
            sums[0, i] += total
            sums[1, i] += squares
