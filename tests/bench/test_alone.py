"""Parts of a model that take their step alone, against all of it in one piece, and against each
other."""

import pytest
import torch

from tdml import config as settings
from tdml.bench import alone
from tdml.data import source
from tdml.models import whole
from tdml.node.lockstep import StepInputs, train_step
from tdml.node.stage import Stage
from tdml.run.prepare import prepare
from tests.jobs import SMALL

CPU, STEP = torch.device("cpu"), alone.SeedAndRate(seed=1, lr=0.01)
FAST = ["train.precision=bf16", "train.channels_last=true", "train.label_smoothing=0.1"]


@pytest.fixture(
    params=[["train=sgd"], ["train=adamw"], ["train=sgd", *FAST]], ids=["sgd", "adamw", "fast"]
)
def job(request):
    """Two stages, two micro-batches, with BatchNorm."""
    chosen = [
        *SMALL,
        *request.param,
        "train.lr=0.01",
        "train.weight_decay=0.01",
        "sync.local_steps=3",
    ]
    config = settings.load([*chosen, "topology.stages=2", "topology.replicas=1"])
    return prepare(config, source.load(config.data, config.seed), checkpoint=None)


def batches(job):
    return [job.source.training_batch(batch.tolist(), seed=7) for batch in job.batches(0, 1)]


def test_the_parts_train_as_the_whole_model_does(job):
    parts, initial = alone.start(job, CPU), whole.flatten(job.model, job.layouts)
    stages = [Stage(job.config, index, job.plan, CPU, CPU) for index in range(2)]
    for stage, weights in zip(stages, initial, strict=True):
        stage.trainer.begin(weights)
    for inputs, labels in batches(job):
        taken = alone.take(parts, inputs, labels, 2, STEP)
        train_step(stages, [StepInputs(inputs, labels, STEP.seed, STEP.lr)] * 2, [None, None])
        for step, before, stage in zip(taken, initial, stages, strict=True):
            assert not torch.equal(stage.trainer.weights(), before)
            assert torch.equal(step.weights, stage.trainer.weights())


def test_what_is_handed_on_is_what_the_neighbour_receives(job):
    inputs, labels = batches(job)[0]
    first, last = alone.take(alone.start(job, CPU), inputs, labels, 2, STEP)
    assert torch.equal(torch.cat(list(first.received)), inputs)
    assert torch.equal(torch.cat(list(last.returned)), labels)
    for sent, received in ((first.outputs, last.received), (last.passed, first.returned)):
        assert [value.shape[0] for value in sent] == [16, 16]
        assert all(map(torch.equal, sent, received))
    assert not first.passed
    assert last.outputs[0].shape == (16, 10)


def test_a_step_that_is_repeated_from_the_same_state_is_the_same_and_disturbs_nothing(job):
    parts, others = alone.start(job, CPU), alone.start(job, CPU)
    for inputs, labels in batches(job):
        for part, other in zip(parts, others, strict=True):
            other.resume(part)
        for part, other, taken in zip(
            parts, others, alone.take(parts, inputs, labels, 2, STEP), strict=True
        ):
            repeated = other.repeat(taken, STEP)
            assert torch.equal(repeated.weights, taken.weights)
            assert torch.equal(repeated.gradients, taken.gradients)
            assert torch.equal(part.weights(), taken.weights)
