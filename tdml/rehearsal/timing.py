"""How long the stages of a pipeline take for micro-batches of different sizes, and how many are
best."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from tdml.common.seeds import derive, seeded
from tdml.data.source import Source
from tdml.errors import SettingError
from tdml.models import whole
from tdml.models.compute import Runner
from tdml.models.microbatches import fastest
from tdml.models.plan import Plan, make_plan
from tdml.rehearsal.rehearse import device_for
from tdml.settings.microbatches import check_microbatches
from tdml.settings.schema import Config, Topology
from tdml.tasks.objective import mean_loss, task_of

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
        self._task, self._stages, self._device = (
            task_of(config, training=True),
            config.topology.stages,
            device,
        )
        self._seed = derive(config.seed, "timing")
        self._inputs, self._targets = source.training_batch(range(largest), self._seed)
        model = whole.initial_model(config.model, config.seed)
        plan = make_plan(config, model, self._inputs)
        self._runners = _runners(config, plan, whole.tensors_of(model), self._device)
        with seeded(self._seed):
            for _ in range(_MORE):
                self._pass(self._inputs, self._targets)

    def seconds(self, size: int) -> list[float]:
        """Of each stage, for a micro-batch of so many samples forward and backward. Raises as the
        constructor."""
        with seeded(self._seed):
            passes = [self._pass(self._inputs[:size], self._targets[:size]) for _ in range(_PASSES)]
        parts = [min(taken) for taken in zip(*passes, strict=True)]
        return [sum(parts[stage :: self._stages]) for stage in range(self._stages)]

    def _pass(self, inputs: torch.Tensor, targets: torch.Tensor) -> list[float]:
        """Seconds of each part."""
        clock, value = _Clock(self._device), inputs.clone()  # a block may work in place
        borders = []
        for index, runner in enumerate(self._runners):
            runner.zero_grad()
            received = value.detach().requires_grad_(index > 0)
            value = runner(received)
            borders.append((received, value))
            clock.tick()
        gradient = None
        for received, output in reversed(borders):
            if gradient is None:
                mean_loss(self._task, output, targets.to(self._device)).backward()
            else:
                output.backward(gradient)
            gradient = received.grad
            clock.tick()
        forward, backward = clock.ticks[: len(borders)], clock.ticks[len(borders) :]
        return [one + other for one, other in zip(forward, reversed(backward), strict=True)]


class _Clock:
    """Seconds between one tick and the next."""

    def __init__(self, device: torch.device) -> None:
        self.ticks: list[float] = []
        self._device = device
        self._last = self._now()

    def tick(self) -> None:
        now = self._now()
        self.ticks.append(now - self._last)
        self._last = now

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


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


def _runners(
    config: Config, plan: Plan, weights: dict[str, torch.Tensor], device: torch.device
) -> list[Runner]:
    parts = plan.cut(whole.outline(config.model, config.seed), range(plan.parts))
    for part in parts:
        part.materialise(device)
        part.fill(weights)
    return [
        Runner(part.module.train(), config.train, i == 0, device, device)
        for i, part in enumerate(parts)
    ]


def _is_possible(config: Config, count: int) -> bool:
    try:
        check_microbatches(_with(config, count))
    except SettingError:
        return False
    return True


def _with(config: Config, count: int) -> Config:
    return replace(config, topology=replace(config.topology, microbatches=count))
