"""Where to cut: blocks are weighed, and the heaviest stage is made as light as it can be."""

import copy
import itertools
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tdml.models.borders import walk


def balance(costs: Sequence[float], parts: int, places: Sequence[int]) -> list[int]:
    """The cuts of `costs` into `parts` non-empty runs that minimise the largest sum.

    Every cut is one of `places`, indices of the first block behind it, of which there must be
    enough. Returns parts − 1 of them: the first block of every part but the first. Dynamic
    programming over (places, parts).
    """
    assert parts <= len(places) + 1
    blocks, places = len(costs), sorted(places)
    total = [0.0, *itertools.accumulate(costs)]
    # best[k]: (largest sum, cuts) for the first k blocks in the number of parts reached so far
    best: dict[int, tuple[float, list[int]]] = {k: (total[k], []) for k in (*places, blocks)}
    for part in range(2, parts + 1):
        best = {
            k: min((max(best[j][0], total[k] - total[j]), [*best[j][1], j]) for j in best if j < k)
            for k in (*places[part - 1 :], blocks)
        }
    return best[blocks][1]


def count_costs(blocks: Sequence[nn.Module], inputs: torch.Tensor) -> list[float]:
    """Operations of each block's forward pass on a micro-batch.

    Matrix products and convolutions by torch's counter, plus one for each number that a block
    returns. Raises as `trace_borders`.
    """
    costs = []

    def visit(block: nn.Module, given: torch.Tensor) -> torch.Tensor:
        operations = _operations(block, given)
        output = block(given.clone())
        costs.append(operations + float(output.numel()))
        return output

    with torch.no_grad():
        walk(blocks, inputs, visit)
    return costs


def _operations(block: nn.Module, given: torch.Tensor) -> int:
    """On the meta device, where all operations are of the kinds that the counter knows; where the
    block needs values, on the host, where it misses those of LSTMs. Where the block fails under the
    counter, as one does that computes gradients itself, those of a linear layer of its size.

    Raises whatever the block does.
    """
    counter = FlopCounterMode(display=False)
    with suppress(Exception):
        with counter:
            copy.deepcopy(block).to("meta")(given.to("meta"))
        return counter.get_total_flops()
    counter = FlopCounterMode(display=False)
    with suppress(Exception):
        with counter, sdpa_kernel(SDPBackend.MATH):
            block(given.clone())
        return counter.get_total_flops()
    block(given.clone())
    return 2 * len(given) * sum(parameter.numel() for parameter in block.parameters())
