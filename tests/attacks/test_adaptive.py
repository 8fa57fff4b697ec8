import pytest
import torch

from tdml.attacks import Adaptive
from tdml.attacks.adaptive import largest
from tdml.trust import screen
from tests.attacks.contexts import context, updates

D = 4000


def honest_updates(replicas):
    """Work on a common task: they share a direction and differ about it."""
    return 0.5 * updates(1, D, seed=1) + updates(replicas, D, seed=2)


def attackers_updates(rows, friends):
    return [
        Adaptive().corrupt(
            torch.ones(rows.shape[1]),
            context(rows, len(friends), replica=replica, friends=frozenset(friends), parameters=D),
        )
        for replica in friends
    ]


@pytest.mark.parametrize("buffers", [0, 50])
@pytest.mark.parametrize("friends", [[6], [1, 5]])
def test_they_are_not_suspected_and_a_fifth_more_would_be(friends, buffers):
    rows = honest_updates(6)
    mean, spread = rows.mean(dim=0), rows.std(dim=0, correction=0)
    # The screen does not look at buffers, which are large and alike.
    sent = torch.stack(
        attackers_updates(torch.cat([rows, torch.full((6, buffers), 1e4)], dim=1), friends)
    )[:, :D]
    assert not set(screen(torch.cat([rows, sent])).suspects) & set(range(6, 6 + len(friends)))

    # but for what the noise has of it
    gamma = 1 - float(((sent * mean).sum(dim=1) / mean.square().sum()).mean())
    stronger = sent - 0.2 * gamma * mean
    assert set(screen(torch.cat([rows, stronger])).suspects) & set(range(6, 6 + len(friends)))

    noise = (sent - (1 - gamma) * mean) / spread
    assert float(noise.std()) == pytest.approx(1, abs=0.05)


def test_colluders_find_the_same_strength_and_send_different_updates():
    rows = honest_updates(6)
    first, second = attackers_updates(rows, [1, 5])
    again, _ = attackers_updates(rows, [1, 5])
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("limit", [0.37, 1.0, 5.5, 31.0])
def test_the_largest_strength_that_passes(limit):
    assert largest(lambda strength: strength <= limit) == pytest.approx(limit, rel=1e-2)


def test_strengths_have_an_end():
    assert largest(lambda strength: True) == 64
    assert largest(lambda strength: False) == 0
