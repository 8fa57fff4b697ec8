"""Where to cut: blocks are weighed, and the heaviest stage is made as light as it can be."""

import copy
import itertools
import statistics
import time
from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tdml.errors import SettingError
from tdml.models.split import Border


def balance(costs: Sequence[float], parts: int) -> list[int]:
    """The cuts of `costs` into `parts` non-empty runs that minimise the largest sum.

    Returns parts − 1 indices: the first block of every part but the first. Dynamic programming over
    (blocks, parts).

    Raises:
        SettingError: there are more parts than blocks.
    """
    blocks = len(costs)
    if parts > blocks:
        raise SettingError(
            f"topology.stages asks for {parts} parts (stages × chunks), but the model has only {blocks} blocks: "
            "lower topology.stages or take a deeper model"
        )
    total = [0.0, *itertools.accumulate(costs)]
    # best[k]: (largest sum, cuts) for the first k blocks in the number of parts reached so far
    best = {k: (total[k], []) for k in range(1, blocks + 1)}
    for part in range(2, parts + 1):
        best = {
            k: min((max(best[j][0], total[k] - total[j]), [*best[j][1], j]) for j in range(part - 1, k))
            for k in range(part, blocks + 1)
        }
    return best[blocks][1]


def count_costs(blocks: Sequence[nn.Module], borders: Sequence[Border]) -> list[float]:
    """Operations of each block's forward pass on one micro-batch, counted on the meta device.

    Matrix products and convolutions by torch's counter, plus one for each number that a block returns.
    """
    costs = []
    for block, before, after in zip(blocks, borders[:-1], borders[1:], strict=True):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            given = before.example("meta", requires_grad=False)  # which knows no autocast
            block(given.float() if given.is_floating_point() else given)
        costs.append(counter.get_total_flops() + float(after.shape.numel()))
    return costs


def measure_costs(blocks: Sequence[nn.Module], borders: Sequence[Border], repeats: int = 3) -> list[float]:
    """Median seconds of each block's forward and backward pass on this machine. `blocks` have real weights."""
    costs = []
    for original, before in zip(blocks, borders[:-1], strict=True):
        block, times = copy.deepcopy(original), []  # running statistics move and gradients stay behind
        for _ in range(repeats + 1):
            value = before.example("cpu", requires_grad=before.dtype.is_floating_point)
            start = time.perf_counter()
            block(value).sum().backward()
            times.append(time.perf_counter() - start)
        costs.append(statistics.median(times[1:]))  # the first pass also pays for caches
    return costs
