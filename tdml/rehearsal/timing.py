"""How long the stages of a pipeline take for micro-batches of different sizes, and how many are
best."""

import os
from collections.abc import Sequence
from dataclasses import replace

import torch

from tdml.common.seeds import derive
from tdml.data.source import Source
from tdml.errors import SettingError
from tdml.models import whole
from tdml.models.microbatches import fastest
from tdml.models.plan import make_plan
from tdml.rehearsal.chain import Chain
from tdml.rehearsal.rehearse import device_for
from tdml.settings.microbatches import check_microbatches
from tdml.settings.schema import Config, Topology

_PASSES = 3  # the fastest counts: whatever else the machine does makes the others slower
_MORE = 2  # of the first size, before any: for what is loaded and chosen in it


def with_microbatches(config: Config, source: Source) -> Config:
    """The settings with `topology.microbatches`: what promises the shortest step here, where it is
    null.

    Whatever cannot be computed is left to `prepare`, which says why.
    """
    choices = [
        count for count in range(1, config.train.batch_size + 1) if _is_possible(config, count)
    ]
    if config.topology.microbatches is not None or not choices:
        return config
    return _with(config, _best(config, source, choices))


def _best(config: Config, source: Source, choices: Sequence[int]) -> int:
    """The first of the choices where there is nothing to choose by."""
    topology, accumulate, batch = config.topology, config.train.accumulate, config.train.batch_size
    if topology.stages == 1:
        return choices[0]
    try:
        device = device_for(config)
        if (busy := load(topology, device)) >= 1:  # while a stage waits, another replica's computes
            return choices[0]
        stages = Stages(config, source, batch // choices[0], device)
    except Exception:
        return choices[0]

    def measure(microbatches: int) -> list[float] | None:
        try:
            return stages.seconds(batch * accumulate // microbatches)
        except Exception:  # such as BatchNorm's, which needs more than one value
            return None

    totals, chunks = [accumulate * count for count in choices], topology.parts // topology.stages
    return fastest(totals, measure, chunks, busy) // accumulate


class Stages:
    """The stages of a job's pipeline with their initial weights, in one process.

    Args:
        largest: of the micro-batches, in samples.

    Raises whatever the model or the data do.
    """

    def __init__(self, config: Config, source: Source, largest: int, device: torch.device) -> None:
        self._stages, self._seed = config.topology.stages, derive(config.seed, "timing")
        self._inputs, self._targets = source.training_batch(range(largest), self._seed)
        model = whole.initial_model(config.model, config.seed)
        plan = make_plan(config, model, self._inputs)
        self._chain = Chain(config, plan, whole.tensors_of(model), device)
        for _ in range(_MORE):
            self._chain.seconds(self._inputs, self._targets, self._seed)

    def seconds(self, size: int) -> list[float]:
        """Of each stage, for a micro-batch of so many samples forward and backward. Raises as the
        constructor."""
        batch = self._inputs[:size], self._targets[:size]
        passes = [self._chain.seconds(*batch, self._seed) for _ in range(_PASSES)]
        parts = [min(taken) for taken in zip(*passes, strict=True)]
        return [sum(parts[stage :: self._stages]) for stage in range(self._stages)]


def load(topology: Topology, device: torch.device) -> float:
    """Replicas on this machine ÷ stages that it can compute at a time; see `step_seconds`. Other
    machines are taken for its like."""
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", topology.world_size))
    nodes = min(ranks - 1, topology.replicas * topology.stages)
    if device.type == "cuda":
        at_a_time = float(torch.cuda.device_count())
    else:
        at_a_time = max(1.0, len(os.sched_getaffinity(0)) / torch.get_num_threads())
    return nodes / topology.stages / at_a_time


def _is_possible(config: Config, count: int) -> bool:
    try:
        check_microbatches(_with(config, count))
    except SettingError:
        return False
    return True


def _with(config: Config, count: int) -> Config:
    return replace(config, topology=replace(config.topology, microbatches=count))
