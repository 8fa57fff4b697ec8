"""What is measured of a pipeline's stages, and the micro-batches that are chosen by it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tdml import config as settings
from tdml.data import source as data
from tdml.rehearsal import timing
from tdml.rehearsal.timing import Stages, load, with_microbatches
from tdml.run.prepare import prepare
from tests.jobs import SMALL

_TWO = [*SMALL, "topology.replicas=1", "topology.stages=2"]


def rows(num_classes, **_):
    """Normalises over the batch alone: one sample is too few."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(3 * 16 * 16, 8), nn.BatchNorm1d(8), nn.Linear(8, num_classes)
    )


@pytest.fixture(scope="module")
def source():
    config = settings.load(_TWO)
    return data.load(config.data, config.seed)


def chosen(source, *overrides):
    return with_microbatches(settings.load([*_TWO, *overrides]), source).topology.microbatches


@pytest.mark.parametrize(
    ("overrides", "microbatches"),
    [
        (["topology.microbatches=16"], 16),
        (["topology.stages=1"], 1),
        (["topology.stages=1", "train.accumulate=4"], 1),
        (["topology.replicas=2"], 2),
        (["topology.replicas=3", "topology.stages=3"], 4),
    ],
)
def test_nothing_is_measured_without_a_choice_or_a_wait(
    source, monkeypatch, overrides, microbatches
):
    """Where other replicas' stages share the processors, none of these is idle."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(2))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(timing, "Stages", None)
    assert chosen(source, *overrides) == microbatches


@pytest.mark.parametrize(
    ("fixed", "overrides", "microbatches"),
    [  # seconds of a stage for a micro-batch: fixed, and one for each of its samples
        (0.0, [], 32),
        (1.0, [], 4),
        (40.0, [], 2),
        (40.0, ["train.accumulate=2"], 1),
        (0.0, ["train.accumulate=2"], 32),
        (0.0, ["topology.stages=3", "train.batch_size=12"], 12),
        (40.0, ["topology.stages=3", "train.batch_size=12"], 3),
        (0.0, ["topology.replicas=4"], 2),
    ],
)
def test_the_shortest_step_is_chosen(source, monkeypatch, fixed, overrides, microbatches):
    """On a machine with a processor for each of four stages."""
    monkeypatch.setattr(Stages, "seconds", lambda stages, size: [fixed + size] * stages._stages)
    monkeypatch.setattr(
        timing, "load", lambda topology, device: topology.replicas * topology.stages / 8
    )
    assert chosen(source, *overrides) == microbatches


def test_stages_are_measured_as_they_are_cut(source):
    for overrides, stages in (
        (["topology.stages=3"], 3),
        (["topology.schedule=interleaved_1f1b"], 2),
    ):
        config = settings.load([*_TWO, *overrides])
        before = torch.get_rng_state()
        seconds = Stages(config, source, 8, torch.device("cpu")).seconds(4)
        assert len(seconds) == stages
        assert all(0 < value < 10 for value in seconds)
        assert torch.equal(torch.get_rng_state(), before)


def test_where_a_micro_batch_is_too_small_for_the_model_a_larger_one_is_taken(source, monkeypatch):
    monkeypatch.setattr(timing, "load", lambda topology, device: 0.5)
    monkeypatch.setattr(
        timing, "fastest", lambda choices, measure, *_: max(c for c in choices if measure(c))
    )
    assert chosen(source, "train.batch_size=8") == 8
    assert (
        chosen(source, "train.batch_size=8", "model._target_=tests.rehearsal.test_timing.rows") == 4
    )


def test_what_cannot_be_computed_is_said_by_what_prepares_the_job(source):
    config = settings.load([*_TWO, "model.num_classes=5"])
    complete = with_microbatches(config, source)
    assert complete == replace(config, topology=replace(config.topology, microbatches=2))
    with pytest.raises(ValueError, match=r"model\.num_classes"):
        prepare(complete, source, checkpoint=None)


@pytest.mark.parametrize(
    ("ranks", "threads", "expected"),
    [
        (None, 1, 4 / 4),
        ("9", 1, 4 / 4),
        ("12", 1, 4 / 4),
        ("5", 1, 2 / 4),
        ("5", 2, 2 / 2),
        ("1", 1, 0.0),
        ("9", 8, 4),
    ],
)
def test_how_many_replicas_share_the_machine(monkeypatch, ranks, threads, expected):
    """Four replicas of two stages and three spares, on machines of four processors."""
    topology = settings.load(
        ["topology.replicas=4", "topology.stages=2", "topology.spares=3"]
    ).topology
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if ranks is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(4))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert load(topology, torch.device("cpu")) == expected
