"""Which training samples each replica owns. Pure functions of the seed."""

from collections.abc import Sequence

import numpy as np

from tdml.common.seeds import derive
from tdml.errors import SettingError

_ATTEMPTS = 1000


def partition(
    kind: str,
    labels: Sequence[int] | None,
    samples: int,
    replicas: int,
    least: int,
    seed: int,
    alpha: float,
) -> list[np.ndarray]:
    """Split range(samples) over the replicas.

    Args:
        kind: "iid", "dirichlet" or "contiguous": a run of neighbours each, such as whole documents.
        labels: of all samples; only the Dirichlet partition looks at them.
        least: samples that each replica needs, those of one optimizer step.
        alpha: concentration of the Dirichlet distribution.

    Returns one sorted int64 array of indices per replica; together they hold every sample once.

    Raises:
        SettingError: some replica would get fewer than `least` samples.
    """
    generator = np.random.default_rng(derive(seed, "partition"))
    if samples < replicas * least:
        raise SettingError(
            f"train.batch_size: {samples} training samples are too few for an optimizer step on "
            f"{least} in each of {replicas} replicas; lower train.batch_size, train.accumulate or "
            "topology.replicas"
        )
    if kind == "iid":
        shares = np.array_split(generator.permutation(samples), replicas)
    elif kind == "contiguous":
        shares = np.array_split(np.arange(samples), replicas)
    else:
        assert labels is not None
        shares = dirichlet(np.asarray(labels), replicas, least, alpha, generator)
    return [np.sort(share) for share in shares]


def dirichlet(
    labels: np.ndarray, replicas: int, least: int, alpha: float, generator: np.random.Generator
) -> list[np.ndarray]:
    """Each class is dealt to the replicas in proportions drawn from Dirichlet(alpha) (Hsu et al.,
    arXiv 1909.06335).

    Drawn again until every replica has at least `least` samples.

    Raises:
        SettingError: that never happens.
    """
    for _ in range(_ATTEMPTS):
        shares: list[list[np.ndarray]] = [[] for _ in range(replicas)]
        for label in np.unique(labels):
            members = generator.permutation(np.flatnonzero(labels == label))
            edges = (np.cumsum(generator.dirichlet([alpha] * replicas))[:-1] * len(members)).astype(
                int
            )
            for share, piece in zip(shares, np.split(members, edges), strict=True):
                share.append(piece)
        joined = [np.concatenate(share) for share in shares]
        if min(map(len, joined)) >= least:
            return joined
    raise SettingError(
        f"data.alpha={alpha} is so small that some replica never gets the {least} samples of one "
        "optimizer step: raise data.alpha, or lower train.batch_size or topology.replicas"
    )
