"""Training that averages in every step, as data-parallel training does: what rare averaging is held
against."""

import copy
from collections.abc import Iterator

import torch
from torch import nn

from tdml.bench.plain_loop import add_gradients, device_of
from tdml.data import pieces
from tdml.data.reader import BatchReader
from tdml.models.compute import autocast, lay_out, lay_out_weights
from tdml.node.inner import inner_optimizer, set_rate
from tdml.node.schedule import Schedule
from tdml.round.job import Job
from tdml.tasks.measures import losses_of, rows_of
from tdml.tasks.objective import task_of


def per_step(job: Job) -> Iterator[float]:
    """The loss on the test half, each time that the replicas of `job` have taken the steps of a
    round; in this process.

    Every step is taken on the mean gradient of the batches that the replicas take in it, with the
    job's learning rate. The optimizer lives as long as the training: one that began anew in every
    step, as a job's does with sync.local_steps=1, would have no momentum and see no scale.
    """
    config, device, task = job.config, device_of(job), task_of(job.config, training=True)
    model = copy.deepcopy(job.model).to(device).train()
    lay_out_weights(model, config.train)
    optimizer = inner_optimizer(config.train, model.parameters())
    assert optimizer is not None
    schedule, reader = Schedule(config.train, config.rounds), BatchReader(job.source, config.seed)
    replicas = range(config.topology.replicas)
    for number in range(1, config.rounds + 1):
        batches = [job.batches(replica, number) for replica in replicas]
        for step in range(job.longest):
            model.zero_grad()
            for replica in replicas:
                place, batch = (number, replica, step), batches[replica][step]
                add_gradients(model, config.train, task, reader, place, batch, 1 / len(replicas))
            if config.train.clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), config.train.clip_norm)
            set_rate(optimizer, schedule.rate(number, step, job.longest))
            optimizer.step()
        yield _test_loss(job, model)


@torch.no_grad()
def _test_loss(job: Job, model: nn.Module) -> float:
    device, train = device_of(job), job.config.train
    asked = pieces.held_out(
        job.source, "test", torch.arange(job.source.size("test")), train.batch_size
    )
    losses, rows = [], []
    model.eval()
    for inputs, targets in pieces.batches(job.source, asked, train.batch_size):
        with autocast(train, device):
            output = model(lay_out(inputs.to(device), train))
        output = getattr(output, "logits", output)  # of Hugging Face's models
        losses.append(losses_of(job.task, output, targets.to(device)))
        rows.append(rows_of(job.task, output, targets.to(device)))
    model.train()
    return job.measures.means(job.task, torch.cat(losses), torch.cat(rows))["loss"]
