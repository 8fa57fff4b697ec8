"""The order of a replica's samples: a pure function of (job seed, round, replica).

A replica walks through an endless stream of epochs, each a fresh permutation of its share cut into
whole batches. Round k takes the k-th run of H batches, so that with few steps a round every sample
is still seen once before any is seen twice, and any step can be executed again from the seed.
"""

import numpy as np

from tdml.common.seeds import derive


def steps_per_round(share: int, batch_size: int, local_steps: int | None) -> int:
    """H: as set, or one epoch of whole batches of a share of that many samples."""
    return local_steps if local_steps is not None else share // batch_size


def assigned_batches(
    share: np.ndarray, batch_size: int, steps: int, seed: int, round_number: int, replica: int
) -> np.ndarray:
    """The samples of one round, (steps, batch_size) int64.

    Args:
        share: the replica's samples.
        steps: H, the same in every round.
        round_number: from 1.
    """
    per_epoch = len(share) // batch_size
    first = (round_number - 1) * steps
    batches, epoch = [], None
    for position in range(first, first + steps):
        if position // per_epoch != epoch:
            epoch = position // per_epoch
            order = np.random.default_rng(derive(seed, "order", replica, epoch)).permutation(share)
        start = position % per_epoch * batch_size
        batches.append(order[start : start + batch_size])
    return np.stack(batches)


def augmentation_seed(seed: int, round_number: int, replica: int, step: int) -> int:
    """That of whatever a data set draws at random for one batch of a job with `seed`."""
    return derive(seed, "augmentation", round_number, replica, step)
