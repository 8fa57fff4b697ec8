"""The screen against a plain implementation, and what it must and must not see."""

import math
import statistics

import pytest
import scipy.stats
import torch

from tdml.trust import screen
from tdml.trust.commitment import BLOCK
from tdml.trust.fold import fold_stage
from tdml.trust.numbers import FLOOR, FLOOR_OF_SIZE, LIMIT
from tdml.trust.screen import screen_sums


def honest(replicas: int, numbers: int = 4000, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    common = torch.randn(numbers, generator=draw)
    return common + 0.5 * torch.randn(replicas, numbers, generator=draw)


def plain_distances(updates: torch.Tensor) -> list[float]:
    """The four features of all parameters, by scipy and loops."""
    rows = updates.double().numpy()
    ranks = scipy.stats.rankdata(rows, axis=0)
    spreads = [math.log(row.std(ddof=1)) for row in ranks]
    pooled = math.sqrt(statistics.mean(row.std(ddof=1) ** 2 for row in ranks))
    levels = [row.mean() / pooled for row in ranks]
    norms = [math.sqrt((row**2).sum()) for row in rows]
    sizes = [math.log(norm) for norm in norms]
    directions = [
        sum(rows[i] @ rows[j] / norms[i] / norms[j] for j in range(len(rows)) if j != i)
        / (len(rows) - 1)
        for i in range(len(rows))
    ]
    features = [(spreads, FLOOR), (levels, FLOOR), (sizes, FLOOR_OF_SIZE), (directions, FLOOR)]
    return [
        max(_off(values, i) / _width(values, floor) for values, floor in features)
        for i in range(len(rows))
    ]


def _width(values: list[float], floor: float) -> float:
    order, most = sorted(values), len(values) // 2 + 1
    return max(floor, min(order[i + most - 1] - order[i] for i in range(len(order) - most + 1)))


def _off(values: list[float], i: int) -> float:
    peers = sorted(values[:i] + values[i + 1 :])
    low, high = peers[(len(peers) - 1) // 2], peers[len(peers) // 2]
    return max(low - values[i], values[i] - high, 0.0)


@pytest.mark.parametrize("replicas", [3, 4, 7, 8])
@pytest.mark.parametrize("seed", range(3))
def test_distances_are_those_of_a_plain_implementation(replicas: int, seed: int) -> None:
    updates = honest(replicas, seed=seed)
    updates[0] *= 1.3
    found = screen(updates).distances.values()
    assert list(found) == pytest.approx(plain_distances(updates), rel=1e-5)


@pytest.mark.parametrize(
    "lie",
    [
        lambda update: -update,
        lambda update: 10 * update,
        torch.zeros_like,
        lambda update: 30 * torch.randn(update.shape, generator=torch.Generator().manual_seed(1)),
        lambda update: update.roll(1),
    ],
)
def test_loud_lies_stand_out_and_the_honest_do_not(lie) -> None:
    updates = honest(8)
    updates[5] = lie(updates[5])
    found = screen(updates)
    assert found.suspects == (5,)
    assert list(found.reasons) == [5] and found.reasons[5]


def test_who_hands_in_another_s_numbers_stands_out_without_limit_but_a_majority_or_zeros_do_not() -> (
    None
):
    updates = honest(5)
    updates[3] = updates[1]
    found = screen(updates)
    assert found.suspects == (1, 3) and math.isinf(found.distances[3])
    assert not any(map(math.isinf, found.beyond[3].values())), "which is usual of nobody"
    assert not screen(torch.ones(5, 100)).suspects
    updates[4] = updates[1]
    assert not any(map(math.isinf, screen(updates).distances.values())), "three of five"
    updates[3:] = 0
    assert not any(map(math.isinf, screen(updates).distances.values())), "two learn nothing"
    assert not screen(torch.zeros(5, 100)).suspects


def test_of_two_nobody_stands_out() -> None:
    assert screen(torch.stack([torch.ones(10), -torch.ones(10)])).distances == {0: 0.0, 1: 0.0}


def test_buffers_are_looked_at_apart() -> None:
    """They are a hundred times as large as parameters, and would hide what is done to these."""
    updates = torch.cat([honest(6), 100 * honest(6, 50, seed=1)], dim=1)
    updates[2, :4000] *= -1
    assert screen(updates, parameters=4000).suspects == (2,)
    updates[4, 4000:] *= 10
    found = screen(updates, parameters=4000)
    assert found.suspects == (2, 4) and "buffers" in found.reasons[4]


def test_who_is_not_compared_is_near_everybody_and_moves_nobody() -> None:
    updates = honest(7)
    updates[2] *= 0.1
    updates[5] = torch.randn(4000, generator=torch.Generator().manual_seed(9))
    rows = [0, 1, 3, 4, 6]
    updates[4] *= -1
    found = screen_sums([fold_stage(updates, 4000)], range(7), rows)
    assert found.suspects == (4,)
    assert (found.distances[2], found.distances[5]) == (0.0, 0.0)
    # but for its ranks, which the others share, it might as well not be there
    alone = screen_sums([fold_stage(updates[rows], 4000)], rows, rows)
    assert [found.distances[i] > LIMIT for i in rows] == [alone.distances[i] > LIMIT for i in rows]
    assert {2, 5} <= set(screen(updates).suspects)


def test_replicas_are_named_by_their_index_whatever_their_row() -> None:
    updates = honest(5)
    updates[1] *= -1
    replicas = [2, 4, 5, 7, 9]
    found, rows = screen_sums([fold_stage(updates, 4000)], replicas, replicas), screen(updates)
    assert (found.suspects, rows.suspects) == ((4,), (1,))
    assert found.distances == dict(zip(replicas, rows.distances.values(), strict=True))
    assert found.beyond[4] == rows.beyond[1]
    far = {4: dict.fromkeys(found.beyond[4], (-math.inf, math.inf))}
    assert not screen_sums([fold_stage(updates, 4000)], replicas, replicas, far).suspects


def test_nor_does_it_matter_whom_it_resembles() -> None:
    """Of so few numbers there are no ranks, which all would share."""
    updates = honest(5, 50)
    updates[3] = 9 * updates[0]
    rows = [0, 1, 2, 4]
    found = screen_sums([fold_stage(updates, 50)], range(5), rows)
    alone = screen_sums([fold_stage(updates[rows], 50)], rows, rows)
    assert {index: found.distances[index] for index in rows} == pytest.approx(alone.distances)


def test_who_is_not_compared_may_be_no_copy() -> None:
    updates = honest(6)
    updates[5] = updates[0]
    assert screen_sums([fold_stage(updates, 4000)], range(6), range(5)).suspects == (0, 5)


def test_a_stage_is_named_that_alone_stands_out() -> None:
    stages = [honest(6), honest(6, 100_000, seed=1)]
    stages[0][3] *= -1
    sums = [fold_stage(stage, stage.shape[1]) for stage in stages]
    found = screen_sums(sums, range(6), range(6))
    assert found.suspects == (3,)
    assert found.reasons[3].startswith("stage 0: ")


def test_half_of_them_make_nobody_stand_out() -> None:
    """A majority of six is four."""
    updates = torch.ones(6, 10)
    updates[3:] *= 3
    assert screen(updates).distances == pytest.approx(dict.fromkeys(range(6), 1.0))


def test_the_whole_shows_what_no_stage_alone_does() -> None:
    """Honest ones learn much in the one stage or in the other."""
    sizes = torch.tensor([[1.0, 10], [10, 1], [1, 10], [10, 1], [1, 10], [10, 20]])
    stages = [fold_stage(own[:, None].expand(6, 4), 4) for own in sizes.unbind(1)]
    found = screen_sums(stages, range(6), range(6))
    assert found.suspects == (5,)
    assert found.reasons[5].startswith("size is")


@pytest.mark.parametrize("rows", [[], [1], [0, 2]])
def test_of_fewer_than_three_that_are_compared_nobody_stands_out(rows: list[int]) -> None:
    updates = honest(4)
    updates[0] *= 100
    found = screen_sums([fold_stage(updates, 4000)], range(4), rows)
    assert found.distances == dict.fromkeys(range(4), 0.0)


def test_blocks_add_up_to_the_whole() -> None:
    updates = honest(4, 3000)
    whole = fold_stage(updates, 2000)
    parts = [
        fold_stage(updates[:, a : a + 700], max(0, min(2000 - a, 700))) for a in range(0, 3000, 700)
    ]
    total = sum(parts[1:], parts[0])
    assert torch.allclose(total.parameters.products, whole.parameters.products)
    assert torch.equal(total.parameters.moments.mean, whole.parameters.moments.mean)
    assert torch.allclose(total.buffers.norms, updates[:, 2000:].double().norm(dim=1))
    assert BLOCK > 3000


def test_coordinates_in_which_all_agree_are_not_ranked() -> None:
    updates = honest(5)
    padded = torch.cat([updates, torch.full((5, 50_000), 7.0)], dim=1)
    assert torch.equal(screen(padded).moments.std, screen(updates).moments.std)


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [4, 8, 16])
def test_honest_updates_rarely_stand_out(replicas: int) -> None:
    beyond = sum(len(screen(honest(replicas, 500, seed)).suspects) for seed in range(200))
    assert beyond / (200 * replicas) < 0.02
    assert LIMIT == 4


@pytest.mark.parametrize("parameters", [17, 60])
@pytest.mark.parametrize("seed", range(5))
def test_few_signs_that_are_another_replicas_are_chance(parameters: int, seed: int) -> None:
    """As after one step of Adam, which takes the sign of each gradient."""
    stage = torch.sign(honest(8, parameters, seed) + 2) * 0.01
    stage[0, 0], stage[1] = -0.01, stage[2]
    assert (stage[1] == stage[2]).all()
    assert not screen(stage).suspects
    large = torch.sign(honest(8, 4000, seed)) * 0.01
    large[1] = large[2]
    assert set(screen(large).suspects) >= {1, 2}
