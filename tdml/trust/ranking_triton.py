"""The sums of leads on a GPU, by kernels in Triton.

As in `ranking_compiled`, a replica's lead at a coordinate is the number of values below its own
less the number above it, and NaN is neither above nor below anything. At coordinates that fill up a
block all are 0, and none leads.

No GPU has run this yet. What the compiler makes for an H100 (132 multiprocessors that start 128
instructions a clock, at 1.75 GHz; memory of 3.35 TB/s) lets one expect, of a coordinate:

| replicas | bytes | reading | instructions | computing |
|---|---|---|---|---|
| 8, float32 | 32 | 9.6 ps | 194: 28 pairs, of two comparisons and three additions each | 6.6 ps |
| 8, bfloat16 | 16 | 4.8 ps | 234 | 7.9 ps |
| 16, float32 | 64 | 19 ps | 695 | 23 ps |
| 24, float32 | 96 | 29 ps | 1,595 | 54 ps |
| 100, float32 | 400 | 119 ps | 53,000: all pairs twice | 1,800 ps |

A sort would compare less, but it has to carry along whose the values are and to find the ties,
through memory.
"""

import torch
import triton
import triton.language as tl

_MOST_FEW = 24  # replicas whose values and sums fit into a thread's registers
_FEW_WIDTH, _FEW_TRIPS = 128, 32  # coordinates that a program takes at a time, and how many times
_MANY_WIDTH, _MANY_TRIPS = (
    128,
    8,
)  # few trips: programs that share coordinates should find them in the second cache
_ROWS = 8


def lead_sums(updates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums over the coordinates of the leads and of the squared leads, (n,) int64 each, on the CPU.

    Args:
        updates: (n, d) float64, float32, float16 or bfloat16, on a GPU, without NaN; in any
            strides.
    """
    with torch.cuda.device_of(updates):
        parts = (_few_sums if len(updates) <= _MOST_FEW else _many_sums)(updates.detach())
        total, squares = parts.sum(dim=0).cpu()
    return total, squares


def _few_sums(updates: torch.Tensor) -> torch.Tensor:
    """The two sums of each program's coordinates, (programs, 2, n) int32."""
    replicas, coordinates = updates.shape
    programs = triton.cdiv(coordinates, _FEW_WIDTH * _FEW_TRIPS)
    sums = torch.empty(programs, 2, replicas, dtype=torch.int32, device=updates.device)
    if programs:
        _few[(programs,)](
            updates, *updates.stride(), coordinates, sums, replicas, _FEW_WIDTH, _FEW_TRIPS
        )
    return sums


def _many_sums(updates: torch.Tensor) -> torch.Tensor:
    """As `_few_sums`, in int64."""
    replicas, coordinates = updates.shape
    parts, tiles = triton.cdiv(coordinates, _MANY_WIDTH * _MANY_TRIPS), triton.cdiv(replicas, _ROWS)
    sums = torch.empty(parts, 2, replicas, dtype=torch.int64, device=updates.device)
    if parts:
        grid = (parts * tiles,)
        _many[grid](
            updates, *updates.stride(), coordinates, sums, replicas, _ROWS, _MANY_WIDTH, _MANY_TRIPS
        )
    return sums


@triton.jit
def _sign(a, b):
    """1 where a > b, −1 where a < b, else 0."""
    # Small whole numbers are exact as floats too, and a GPU has twice as many adders for those.
    return (a > b).to(tl.float32) - (a < b).to(tl.float32)


@triton.jit
def _row(updates, row_step, step, i, columns, present):
    """The values of row i at the columns that are present, 0 at the others."""
    values = tl.load(
        updates + i * tl.cast(row_step, tl.int64) + columns * step, mask=present, other=0.0
    )
    if values.dtype.primitive_bitwidth < 32:
        values = values.to(tl.float32)
    return values


@triton.jit
def _leads(values):
    """The leads of all values over each other: what one of a pair gains the other lacks."""
    finished = ()
    leads = (tl.zeros(values[0].shape, tl.float32),) * len(values)
    for i in tl.static_range(len(values)):
        lead, rest = leads[0], ()
        for j in tl.static_range(1, len(leads)):
            sign = _sign(values[i], values[i + j])
            lead += sign
            rest += (leads[j] - sign,)
        finished += (lead,)
        leads = rest
    return finished


@triton.jit
def _added(totals, squares, leads):
    """The sums with the leads of one coordinate more."""
    new_totals, new_squares = (), ()
    for i in tl.static_range(len(leads)):
        new_totals += (totals[i] + leads[i],)
        new_squares += (squares[i] + leads[i] * leads[i],)
    return new_totals, new_squares


@triton.jit
def _few(
    updates,
    row_step,
    step,
    coordinates,
    sums,
    replicas: tl.constexpr,
    width: tl.constexpr,
    trips: tl.constexpr,
):
    """Write a program's sums to sums[program], for few rows: each value is read once and stays in a
    register."""
    tl.static_assert(
        width * trips * (replicas - 1) * (replicas - 1) < 2**24, "the sums must be exact in float32"
    )
    start = tl.program_id(0).to(tl.int64) * (width * trips)
    totals = (tl.zeros((width,), tl.float32),) * replicas
    squares = totals
    for trip in range(trips):
        columns = start + trip * width + tl.arange(0, width)
        values = ()
        for i in tl.static_range(replicas):
            values += (_row(updates, row_step, step, i, columns, columns < coordinates),)
        totals, squares = _added(totals, squares, _leads(values))
    for i in tl.static_range(replicas):
        target = sums + tl.program_id(0) * (2 * replicas) + i
        tl.store(target, tl.sum(totals[i]).to(tl.int32))
        tl.store(target + replicas, tl.sum(squares[i]).to(tl.int32))


@triton.jit
def _many(
    updates,
    row_step,
    step,
    coordinates,
    sums,
    replicas,
    rows: tl.constexpr,
    width: tl.constexpr,
    trips: tl.constexpr,
):
    """Write the sums of a part of the coordinates and of a few of the rows to sums[part], for any
    number of rows.

    The rows are compared with every row in turn, which is found in a cache: neighbouring programs
    read the same.
    """
    tiles = tl.cdiv(replicas, rows)
    part, first = tl.program_id(0) // tiles, tl.program_id(0) % tiles * rows
    start = part.to(tl.int64) * (width * trips)
    totals = (tl.zeros((width,), tl.int64),) * rows
    squares = totals
    for trip in range(trips):
        columns = start + trip * width + tl.arange(0, width)
        present = columns < coordinates
        values = ()
        for i in tl.static_range(rows):
            values += (
                _row(updates, row_step, step, first + i, columns, present & (first + i < replicas)),
            )
        leads = (tl.zeros((width,), tl.float32),) * rows
        for j in range(replicas):
            leads = _over(leads, values, _row(updates, row_step, step, j, columns, present))
        totals, squares = _added(totals, squares, _whole(leads))
    for i in tl.static_range(rows):
        target = sums + part * (2 * replicas) + first + i
        tl.store(target, tl.sum(totals[i]), mask=first + i < replicas)
        tl.store(target + replicas, tl.sum(squares[i]), mask=first + i < replicas)


@triton.jit
def _over(leads, values, other):
    """The leads after one comparison more, each value's with the other."""
    new = ()
    for i in tl.static_range(len(leads)):
        new += (leads[i] + _sign(values[i], other),)
    return new


@triton.jit
def _whole(leads):
    """The leads in 64 bits, for the squares of thousands of replicas."""
    new = ()
    for i in tl.static_range(len(leads)):
        new += (leads[i].to(tl.int64),)
    return new
