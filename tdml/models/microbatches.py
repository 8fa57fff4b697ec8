"""How many micro-batches a step is best cut into: few leave the stages of a pipeline idle, many
make small batches, which take longer for each of their samples."""

import math
from collections.abc import Callable, Sequence


def step_seconds(
    times: Sequence[float], microbatches: int, chunks: int = 1, load: float = 0.0
) -> float:
    """Seconds that a step takes with nothing lost on the way between stages.

    Args:
        times: of each stage, for a micro-batch forward and backward.
        chunks: that each stage is cut into, which take turns; 1 but under the interleaved schedule.
        load: replicas on a machine ÷ stages that it can compute at a time.

    The slowest stage computes all micro-batches, and waits while the first comes and the last goes
    through the others: exact where all stages take the same. Where stages share processors, no step
    is shorter than its computation.
    """
    slowest, all_stages = max(times), sum(times)
    return max(
        microbatches * slowest + (all_stages - slowest) / chunks, load * microbatches * all_stages
    )


def busy_share(
    times: Sequence[float], microbatches: int, chunks: int = 1, load: float = 0.0
) -> float:
    """The share of a step in which a stage can compute, in the mean over the stages: 1 without any
    wait."""
    return (
        microbatches * sum(times) / (len(times) * step_seconds(times, microbatches, chunks, load))
    )


def fastest(
    choices: Sequence[int],
    measure: Callable[[int], Sequence[float] | None],
    chunks: int = 1,
    load: float = 0.0,
) -> int:
    """The number of micro-batches with the shortest step.

    Args:
        choices: at least one, rising.
        measure: gives the `times` of the stages for so many micro-batches, None where they cannot
            be so small.
    """
    best, least = choices[0], math.inf
    for count in choices:
        times = measure(count)
        # A sample in a smaller batch takes no less: from here on even pipelines without any wait
        # are slower.
        if times is None or count * max(*times, load * sum(times)) >= least:
            break
        if (seconds := step_seconds(times, count, chunks, load)) < least:
            best, least = count, seconds
    return best
