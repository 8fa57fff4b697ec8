"""The plan of a job's pipelines: where the model is cut and what crosses the cuts.

The coordinator makes it once; a node that joins a replica gets it with its assignment.
"""

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tdml.config import Config
from tdml.errors import SettingError
from tdml.models.balance import balance, count_costs, measure_costs
from tdml.models.compute import autocast
from tdml.models.layout import Layout
from tdml.models.split import Border, Part, blocks_of, build, check_cuts, check_no_sharing, trace_borders
from tdml.seeds import seeded

_HOST = torch.device("cpu")


@dataclass(frozen=True)
class Plan:
    """`cuts` as in `topology.cuts`; `borders` has the input of every part and the output of the last; `shares` are the
    parts' shares of the computation, in millionths."""

    cuts: tuple[int, ...]
    borders: tuple[Border, ...]
    shares: tuple[int, ...]

    @property
    def parts(self) -> int:
        """Pieces of the model."""
        return len(self.cuts) + 1

    def parts_of(self, stage: int, stages: int) -> range:
        """The pieces that the node at `stage` holds: one, or every `stages`-th under the interleaved schedule."""
        return range(stage, self.parts, stages)

    def cut(self, model: nn.Module, indices: Sequence[int]) -> list[Part]:
        """Some pieces of an un-split model that lies on the meta device."""
        edges = [0, *self.cuts, len(blocks_of(model))]
        return [Part(model, edges[i], edges[i + 1]) for i in indices]


def make_plan(config: Config, whole: nn.Module, sample: Border, classes: int) -> Plan:
    """Cut the model for `config.topology`.

    Args:
        whole: the un-split model with real weights, which stay as they are.
        sample: a micro-batch of inputs.
        classes: labels of the data are below this.

    Raises:
        SettingError: the model cannot be cut so, or does not fit the data.
    """
    meta = build(config.model, "meta")
    blocks = blocks_of(meta)
    borders = trace_borders(blocks, sample)
    if config.train.precision != "fp32":  # the meta device knows no autocast
        with torch.no_grad(), seeded(config.seed), autocast(config.train, _HOST):
            borders = trace_borders(blocks_of(copy.deepcopy(whole)), sample, "cpu")
    _check_output(borders[-1], classes)
    cuts, counted = config.topology.cuts, count_costs(blocks, borders)
    if cuts is None:
        measured = config.topology.cost == "measured"
        with autocast(config.train, _HOST):
            costs = measure_costs(blocks_of(whole), borders) if measured else counted
        cuts = balance(costs, config.topology.parts)
    check_cuts(cuts, len(blocks))
    edges = (0, *cuts, len(blocks))
    shares = (sum(counted[a:b]) / sum(counted) for a, b in itertools.pairwise(edges))
    plan = Plan(tuple(cuts), tuple(borders[i] for i in edges), tuple(round(1e6 * share) for share in shares))
    check_no_sharing(meta, plan.cut(meta, range(plan.parts)))
    return plan


def layouts(plan: Plan, model_settings: dict, stages: int) -> list[Layout]:
    """The layout of every stage's flat vector."""
    meta = build(model_settings, "meta")
    return [Layout.of(plan.cut(meta, plan.parts_of(stage, stages))) for stage in range(stages)]


def _check_output(output: Border, classes: int) -> None:
    if len(output.shape) != 2 or output.shape[1] < classes:
        one_less = len(output.shape) == 2 and output.shape[1] == classes - 1
        raise SettingError(
            f"model.num_classes: the model returns {tuple(output.shape)}, but the data has {classes} classes and "
            f"needs (batch, {classes})" + (": if its labels begin at 1, return label - 1" if one_less else "")
        )
