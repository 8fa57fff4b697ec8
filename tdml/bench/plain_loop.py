"""The yardstick of a job's speed: what one would write without TDML."""

import copy
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from tdml.data.reader import Reader
from tdml.models.compute import autocast, lay_out, lay_out_weights
from tdml.node.devices import choose_device, make_repeatable
from tdml.node.inner import inner_optimizer
from tdml.run.job import Job
from tdml.tasks.objective import mean_loss, task_of

_WARM_UP = 3  # steps


def plain_loop(job: Job, seconds: float, repeatable: bool = False) -> float:
    """Samples a second of a loop in one process over the first replica's batches, with all threads
    that torch takes.

    `repeatable`: with the kernels that a job's workers use; else with the fastest that torch finds.
    """
    train, device, task = job.config.train, device_of(job), task_of(job.config, training=True)
    model = copy.deepcopy(job.model).to(device).train()
    lay_out_weights(model, train)
    optimizer = inner_optimizer(train, model.parameters())
    reader, batches = Reader(job.source, job.config.seed), job.batches(0, 1)
    places = itertools.cycle(range(len(batches)))

    def take_step() -> None:
        place = next(places)
        inputs, labels = reader.training_batch(1, 0, place, batches[place])
        assert inputs is not None and labels is not None
        weights = reader.weights(batches[place])
        model.zero_grad()
        for start in range(0, len(inputs), train.batch_size):
            own = slice(start, start + train.batch_size)
            part, right = inputs[own], labels[own]
            counts = None if weights is None else weights[own]
            with autocast(train, device):
                output = model(lay_out(part.to(device), train))
            output = getattr(output, "logits", output)  # of Hugging Face's models
            loss = mean_loss(task, output, right.to(device), None, counts)
            (loss / train.accumulate).backward()
        if train.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), train.clip_norm)
        if optimizer is not None:
            optimizer.step()

    with _kernels(repeatable):
        for _ in range(_WARM_UP):
            take_step()
        start, steps = _now(device), 0
        while (taken := _now(device) - start) < seconds:
            take_step()
            steps += 1
    return steps * train.effective_batch_size / taken


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
