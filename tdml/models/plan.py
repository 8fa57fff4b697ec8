"""The plan of a job's pipelines: where the model is cut and what crosses the cuts.

The coordinator makes it once; a node that joins a replica gets it with its assignment.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tdml.errors import SettingError
from tdml.models.borders import trace_borders
from tdml.models.compute import autocast
from tdml.models.cuts import check_cuts, check_has_blocks, check_parts, find_obstacles
from tdml.models.layout import Layout
from tdml.models.split import Border, Part, blocks_of, check_complete
from tdml.models.stage_costs import balance, count_costs
from tdml.settings.schema import Config, Topology


@dataclass(frozen=True)
class Plan:
    """`cuts` as in `topology.cuts`; `borders` has the input of every part and the output of the
    last; `shares` are the parts' shares of the computation, in millionths; a step takes
    `microbatches` of the first border's shape."""

    cuts: tuple[int, ...]
    borders: tuple[Border, ...]
    shares: tuple[int, ...]
    microbatches: int

    @property
    def parts(self) -> int:
        """Pieces of the model."""
        return len(self.cuts) + 1

    def parts_of(self, stage: int, stages: int) -> range:
        """The pieces that the node at `stage` holds: one, or every `stages`-th under the
        interleaved schedule."""
        return range(stage, self.parts, stages)

    def stage_shares(self, stages: int) -> list[int]:
        """The stages' shares of a replica's computation, in millionths."""
        return [sum(self.shares[part] for part in self.parts_of(s, stages)) for s in range(stages)]

    def check_crossing(self, part: int, value: torch.Tensor) -> None:
        """
        Args:
            value: what a part returns. Pipelines receive it in buffers of one shape.

        Raises:
            SettingError: it is to cross a cut, and has another shape than the first micro-batch.
        """
        border = self.borders[part + 1]
        if part < len(self.cuts) and value.shape != border.shape:
            raise SettingError(
                f"model: what crosses the cut before block {self.cuts[part]} is "
                f"{tuple(value.shape)}, and of the first training samples {tuple(border.shape)}: "
                "it must be alike for all samples, in training and in evaluation, so do not cut a "
                "batch to its longest sample, or set topology.stages=1"
            )

    def cut(self, model: nn.Module, indices: Sequence[int]) -> list[Part]:
        """Some pieces of an un-split model."""
        edges = [0, *self.cuts, len(blocks_of(model))]
        return [Part(model, edges[i], edges[i + 1]) for i in indices]


def make_plan(
    config: Config,
    model: nn.Module,
    inputs: torch.Tensor,
    check_output: Callable[[torch.Size], None] = lambda _: None,
) -> Plan:
    """Cut the model for `config.topology`.

    Args:
        model: the un-split model with its initial weights, on the host. It stays as it is.
        inputs: the first micro-batch, on which everything that depends on values is tried.
        check_output: told the shape of what the model returns; raises where that does not fit the
            data.

    Raises:
        SettingError: the model cannot be cut so, or does not fit the data.
    """
    blocks = blocks_of(model)
    check_complete(model, blocks)
    with autocast(config.train, torch.device("cpu")):
        borders = trace_borders(blocks, inputs)
        check_output(borders[-1].shape)
        # alone a part has all of it
        costs = count_costs(blocks, inputs) if config.topology.parts > 1 else [1.0] * len(blocks)
        cuts = _cuts(config.topology, model, borders, inputs, costs)
    edges = (0, *cuts, len(blocks))
    shares = (sum(costs[a:b]) / sum(costs) for a, b in itertools.pairwise(edges))
    millionths = tuple(round(1e6 * share) for share in shares)
    return Plan(tuple(cuts), tuple(borders[i] for i in edges), millionths, config.microbatches)


def _cuts(
    topology: Topology,
    model: nn.Module,
    borders: Sequence[Border],
    inputs: torch.Tensor,
    costs: Sequence[float],
) -> list[int]:
    if topology.parts == 1:
        return []
    check_has_blocks(model)
    blocks = blocks_of(model)
    obstacles = find_obstacles(model, borders, inputs)
    if topology.cuts is not None:
        check_cuts(topology.cuts, len(blocks), obstacles)
        return topology.cuts
    check_parts(topology.parts, len(blocks), obstacles)
    places = [place for place in range(1, len(blocks)) if place not in obstacles]
    return balance(costs, topology.parts, places)


def layouts(plan: Plan, model: nn.Module, stages: int) -> list[Layout]:
    """The layout of every stage's flat vector, for the un-split model."""
    return [Layout.of(plan.cut(model, plan.parts_of(stage, stages))) for stage in range(stages)]


def frozen_names(plan: Plan, model: nn.Module, stages: int) -> list[list[str]]:
    """By stage, the names of the parameters that are not trained."""
    return [
        [name for part in plan.cut(model, plan.parts_of(stage, stages)) for name in part.frozen]
        for stage in range(stages)
    ]
