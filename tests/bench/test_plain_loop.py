import pytest
import torch

from tdml import config as settings
from tdml.bench import plain_loop
from tdml.data import source
from tdml.run.prepare import prepare
from tests.jobs import SMALL


@pytest.fixture(scope="module")
def job():
    config = settings.load(
        [*SMALL, "topology.replicas=2", "topology.stages=1", "sync.local_steps=3"]
    )
    return prepare(config, source.load(config.data, config.seed), checkpoint=None)


def test_what_follows_the_warm_up_is_counted(job, monkeypatch):
    clock = iter([0, 0, 1, 2])  # at the start, and before each step; a step takes a second
    before = {name: tensor.clone() for name, tensor in job.model.state_dict().items()}
    monkeypatch.setattr(plain_loop, "_now", lambda device: float(next(clock)))
    assert plain_loop.plain_loop(job, seconds=2.0) == 32
    assert next(clock, None) is None
    for name, tensor in job.model.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("repeatable", [True, False])
def test_the_kernels_are_those_asked_for_and_the_process_is_left_as_it_was(
    job, repeatable, monkeypatch
):
    seen, clock = set(), iter([0, 0, 1])

    def look(device):
        seen.add((torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark))
        return float(next(clock))

    monkeypatch.setattr(plain_loop, "_now", look)
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    plain_loop.plain_loop(job, seconds=1.0, repeatable=repeatable)
    assert seen == {(repeatable, not repeatable)}
    assert (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark) == before
