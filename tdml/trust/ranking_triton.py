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

A sort would compare less, but it has to carry along whose the values are and to find the ties,
through memory.
"""

import torch
import triton
import triton.language as tl

MOST = 24  # replicas whose values and sums fit into a thread's registers
_WIDTH, _TRIPS = 128, 32  # coordinates that a program takes at a time, and how many times


def lead_sums(updates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums over the coordinates of the leads and of the squared leads, (n,) int64 each, on the CPU.

    Args:
        updates: (n, d) float64, float32, float16 or bfloat16, on a GPU, without NaN; in any
            strides.

    Raises:
        ValueError: there are more than `MOST` updates.
    """
    replicas, coordinates = updates.shape
    if replicas > MOST:
        raise ValueError(f"{replicas} updates: the values of {MOST} fit into registers")
    programs = triton.cdiv(coordinates, _WIDTH * _TRIPS)
    parts = torch.empty(programs, 2, replicas, dtype=torch.int32, device=updates.device)
    with torch.cuda.device_of(updates):
        if programs:
            _add_up[(programs,)](
                updates.detach(), *updates.stride(), coordinates, parts, replicas, _WIDTH, _TRIPS
            )
        total, squares = parts.sum(dim=0).cpu()
    return total, squares


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
def _add_up(
    updates,
    row_step,
    step,
    coordinates,
    sums,
    replicas: tl.constexpr,
    width: tl.constexpr,
    trips: tl.constexpr,
):
    """Write a program's sums to sums[program]: each value is read once and stays in a register."""
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
