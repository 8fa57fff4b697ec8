"""The yardstick of a job's speed: what one would write without TDML."""

import copy
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from tdml.data.reader import BatchReader
from tdml.data.source import Source
from tdml.models.compute import autocast, lay_out, lay_out_weights
from tdml.node.devices import choose_device, make_repeatable
from tdml.node.inner import inner_optimizer
from tdml.round.job import Job
from tdml.settings.schema import Config, Train
from tdml.tasks import Task
from tdml.tasks.objective import mean_loss, task_of

_WARM_UP = 3  # steps


def plain_loop(job: Job, seconds: float, repeatable: bool = False) -> float:
    """Samples a second of a loop in one process over the first replica's batches, with all threads
    that torch takes.

    `repeatable`: with the kernels that a job's workers use; else with the fastest that torch finds.
    """
    device = device_of(job)
    loop = Loop(job.config, job.source, copy.deepcopy(job.model), job.batches(0, 1))
    with _kernels(repeatable):
        for _ in range(_WARM_UP):
            loop.step()
        start, steps = _now(device), 0
        while (taken := _now(device) - start) < seconds:
            loop.step()
            steps += 1
    return steps * job.config.train.effective_batch_size / taken


class Loop:
    """Takes steps on some batches, (k, effective_batch_size) int64, again and again. The model is
    moved to where a job's first worker computes, and trained."""

    def __init__(
        self, config: Config, source: Source, model: nn.Module, batches: torch.Tensor
    ) -> None:
        self._train, self._task = config.train, task_of(config, training=True)
        self._model = model.to(choose_device(config.device, 0, 1).device).train()
        lay_out_weights(self._model, config.train)
        self._optimizer = inner_optimizer(config.train, self._model.parameters(), fused=False)
        self._reader, self._batches = BatchReader(source, config.seed), batches
        self._places = itertools.cycle(range(len(batches)))

    def step(self) -> None:
        """One more."""
        place = next(self._places)
        self._model.zero_grad()
        add_gradients(
            self._model, self._train, self._task, self._reader, (1, 0, place), self._batches[place]
        )
        if self._train.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._model.parameters(), self._train.clip_norm)
        if self._optimizer is not None:
            self._optimizer.step()


def add_gradients(
    model: nn.Module,
    train: Train,
    task: Task,
    reader: BatchReader,
    place: tuple[int, int, int],
    batch: torch.Tensor,
    share: float = 1.0,
) -> None:
    """Add `share` of the gradients of a batch's mean loss to those of the model.

    Args:
        place: round, replica and step whose batch it is.
        batch: its samples, (effective_batch_size,) int64.
    """
    device = next(model.parameters()).device
    number, replica, step = place
    inputs, labels = reader.training_batch(number, replica, step, batch)
    assert inputs is not None and labels is not None
    weights = reader.weights(batch)
    for start in range(0, len(inputs), train.batch_size):
        own = slice(start, start + train.batch_size)
        counts = None if weights is None else weights[own]
        with autocast(train, device):
            output = model(lay_out(inputs[own].to(device), train))
        output = getattr(output, "logits", output)  # of Hugging Face's models
        loss = mean_loss(task, output, labels[own].to(device), None, counts)
        (loss * share / train.accumulate).backward()


def device_of(job: Job) -> torch.device:
    """Where a job's first worker on this machine computes."""
    return choose_device(job.config.device, 0, 1).device


@contextmanager
def _kernels(repeatable: bool) -> Iterator[None]:
    """The kernels that a job's workers use, which give the same bits every time, or the fastest for
    the shapes."""
    cudnn, memory = torch.backends.cudnn, "fill_uninitialized_memory"  # which torch's stubs lack
    before = (
        torch.are_deterministic_algorithms_enabled(),
        cudnn.benchmark,
        getattr(torch.utils.deterministic, memory),
    )
    if repeatable:
        make_repeatable()
    else:
        torch.use_deterministic_algorithms(False)
        cudnn.benchmark = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=True)
        cudnn.benchmark = before[1]
        setattr(torch.utils.deterministic, memory, before[2])


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
