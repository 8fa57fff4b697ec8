"""The choice of micro-batches beside a simulation of the schedule, event by event."""

import itertools

import pytest

from tdml.models.microbatches import busy_share, fastest, step_seconds

_FORWARD = 1 / 3  # of a stage's time for a micro-batch; the rest is the backward pass
_CHOICES = [2, 4, 8, 16, 32, 64]


def simulate(times: list[float], microbatches: int) -> float:
    """Seconds of a step under 1F1B: every stage takes its passes in their order, each as soon as it
    has its input."""
    stages = len(times)
    orders = [_order(stage, stages, microbatches) for stage in range(stages)]
    done: dict[tuple[str, int, int], float] = {}
    clock, places = [0.0] * stages, [0] * stages
    while any(place < len(order) for place, order in zip(places, orders, strict=True)):
        for stage in range(stages):
            if places[stage] == len(orders[stage]):
                continue
            kind, number = orders[stage][places[stage]]
            behind = stage - 1 if kind == "forward" else stage + 1
            needed = (kind, behind, number) if behind in range(stages) else None
            if needed is not None and needed not in done:
                continue
            start = max(clock[stage], done[needed] if needed else 0.0)
            clock[stage] = start + times[stage] * (_FORWARD if kind == "forward" else 1 - _FORWARD)
            done[kind, stage, number] = clock[stage]
            places[stage] += 1
    return max(clock)


def _order(stage: int, stages: int, microbatches: int) -> list[tuple[str, int]]:
    ahead = min(microbatches, stages - stage)
    forward = iter(range(microbatches))
    backward = iter(range(microbatches))
    order = [("forward", number) for number in itertools.islice(forward, ahead)]
    for number in backward:
        order.append(("backward", number))
        order += [("forward", following) for following in itertools.islice(forward, 1)]
    return order


def cost(batch: int, microbatches: int, overhead: float, weights: list[float]) -> list[float]:
    """Seconds of the stages for a micro-batch: something for each, and something for each
    sample."""
    return [weight * (overhead + batch / microbatches) for weight in weights]


@pytest.mark.parametrize("stages", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("microbatches", [8, 16])
def test_equal_stages_take_as_long_as_the_schedule(stages: int, microbatches: int) -> None:
    times = [0.6] * stages
    assert step_seconds(times, microbatches) == pytest.approx(simulate(times, microbatches))
    assert busy_share(times, microbatches) == pytest.approx(
        microbatches / (microbatches + stages - 1)
    )


@pytest.mark.parametrize("overhead", [0.0, 0.5, 2.0, 8.0, 40.0])
@pytest.mark.parametrize(
    "weights", [[1, 1], [1, 1.3], [1.2, 1, 0.7], [1, 1, 1, 1], [0.5, 1, 1, 0.8]], ids=str
)
def test_the_choice_is_as_good_as_the_best_that_is_simulated(
    overhead: float, weights: list[float]
) -> None:
    choices = [count for count in _CHOICES if count >= len(weights)]
    simulated = {count: simulate(cost(64, count, overhead, weights), count) for count in choices}
    chosen = fastest(choices, lambda count: cost(64, count, overhead, weights))
    assert simulated[chosen] <= 1.03 * min(simulated.values()), simulated


@pytest.mark.parametrize("times", list(itertools.product([1.0, 2.0, 5.0], repeat=3)), ids=str)
def test_unequal_stages_take_about_as_long_as_the_schedule(times: tuple[float, ...]) -> None:
    assert 1 - 1e-9 < step_seconds(times, 6) / simulate(list(times), 6) < 1.12


def test_chunks_shorten_the_wait() -> None:
    """Twice as many parts of half the size: the first micro-batch is through the others' in half
    the time."""
    assert step_seconds([2.0, 2.0, 2.0, 2.0], 8, chunks=2) == 8 * 2.0 + 3 * 1.0


@pytest.mark.parametrize(("load", "chosen"), [(0.5, 16), (1.0, 2), (2.0, 2)])
def test_stages_that_share_processors_gain_nothing_by_many(load: float, chosen: int) -> None:
    """Two stages: with a load of a half each has a processor of its own."""
    assert fastest(_CHOICES, lambda count: cost(64, count, 0.3, [1, 1]), load=load) == chosen
    assert step_seconds([1.0, 1.0], 4, load=load) == max(5.0, load * 8.0)


def test_what_cannot_be_the_best_is_not_measured() -> None:
    measured = []

    def measure(count: int) -> list[float] | None:
        measured.append(count)
        return cost(64, count, 40.0, [1, 1])

    assert fastest(_CHOICES, measure) == 2
    assert measured == [2, 4]


def test_where_a_micro_batch_is_too_small_the_search_ends() -> None:
    assert fastest(_CHOICES, lambda count: None if count > 4 else cost(64, count, 0.0, [1, 1])) == 4
    assert fastest(_CHOICES, lambda _: None) == 2
