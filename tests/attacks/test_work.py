import pytest
import torch

from tdml.attacks import CopyAggregate, HalfWork, Replay, ZeroUpdate
from tests.attacks.contexts import context, updates

OWN = torch.tensor([1.0, -2.0])
EARLIER = torch.tensor([3.0, 4.0])


def test_a_zero_update_is_zero():
    assert ZeroUpdate().corrupt(OWN, context()).tolist() == [0.0, 0.0]


def test_the_last_update_is_replayed():
    past = (torch.zeros(2), EARLIER)
    assert Replay(0.0).corrupt(OWN, context(past=past)).tolist() == [3.0, 4.0]


def test_with_nothing_to_replay_the_update_is_honest():
    assert Replay(0.5).corrupt(OWN, context()) is OWN


def test_the_last_aggregate_is_copied():
    assert CopyAggregate(0.0).corrupt(OWN, context(aggregate=EARLIER)).tolist() == [3.0, 4.0]


def test_before_there_was_an_aggregate_the_copy_is_zero():
    assert CopyAggregate(0.5).corrupt(OWN, context()).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("attack", [Replay(0.1), CopyAggregate(0.1)])
def test_noise_is_a_share_of_the_parameters_size_and_spares_the_buffers(attack):
    copied = torch.cat([updates(1, 5000)[0] * 3, torch.full((10,), 1e6)])
    before = copied.clone()
    told = context(past=(copied,), aggregate=copied, parameters=5000)
    noise = attack.corrupt(torch.zeros(5010), told) - copied
    size = float(copied[:5000].square().mean() ** 0.5)
    assert float(noise[:5000].square().mean() ** 0.5) == pytest.approx(0.1 * size, rel=0.05)
    assert not noise[5000:].any()
    assert torch.equal(copied, before)


@pytest.mark.parametrize(
    ("share", "steps", "taken"), [(0.5, 10, 5), (0.25, 8, 2), (1.0, 7, 7), (0.0, 7, 0)]
)
def test_half_of_the_steps_are_taken(share, steps, taken):
    assert HalfWork(share).local_steps(steps, context()) == taken


def test_half_of_the_work_is_doubled_and_all_of_it_is_not():
    assert HalfWork(0.5).corrupt(OWN, context(work=0.5)).tolist() == [2.0, -4.0]
    assert HalfWork(0.5).corrupt(OWN, context(work=1.0)).tolist() == [1.0, -2.0]
