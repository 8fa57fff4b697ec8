"""MANDERA as it was published, for comparison: it has no gate, and accuses someone in every round.

Zhu et al., arXiv 2110.11736. Where paper and code differ the code is followed: `mandera_detect` in
`federated_learning/utils/defense_methods.py` of Imathatguy/DataPoisoningFL-Rank at commit 798f3a2,
with the versions that its `requirements.pip` pins (scikit-learn 1.0.1, whose k-means starts ten
times; a pandas that needs Python 3.8, whose `statistics.mode` of a tie is the label that comes
first).
"""

import warnings

import torch

from tdml.trust.ranking import Moments, rank_moments
from tdml.trust.screen import Screening

_STARTS = 10  # of k-means, of which the best counts


def mandera(updates: torch.Tensor) -> Screening:
    """Split the replicas in two by the means and the standard deviations of their ranks, and accuse
    one half.

    Malicious is the cluster in which more standard deviations are duplicates of others, to the last
    bit; with as many in both the smaller one; of two equal halves the one without the first
    replica. So of two replicas the second is always accused, of three at least one, and all of them
    if all hand in the same numbers.

    The published k-means draws its starts without a seed, so where the best of ten is not the best
    there is its verdict changes from run to run: about one clean round in a hundred, of 4 to 16
    replicas. Here the starts are the same every time. Where different updates have equal standard
    deviations by coincidence, as they may with three replicas or few coordinates, rounding decides
    whether they count as duplicates, and may in pandas decide otherwise.

    Args:
        updates: (n, d) floating point, without NaN. With n < 2 or d < 2, where the published code
            fails, nobody is accused.

    Returns:
        The suspects are those whom the published rule leaves out of the average.
    """
    moments = rank_moments(updates)
    if len(updates) < 2 or updates.shape[1] < 2:
        return Screening({}, moments)
    labels = _clusters(torch.stack([moments.mean, moments.std], dim=1))
    accused = _accused_label(labels, moments.std.tolist())
    suspects = tuple(i for i, label in enumerate(labels) if label == accused)
    reasons = {i: _reason(moments, i, len(suspects)) for i in suspects}
    return Screening(reasons, moments)


def _clusters(points: torch.Tensor) -> list[int]:
    """The label, 0 or 1, of each of (n, 2) points. Points that are all the same make one cluster,
    0."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of points that are all the same
        return (
            KMeans(n_clusters=2, n_init=_STARTS, random_state=0)
            .fit_predict(points.numpy())
            .tolist()
        )


def _accused_label(labels: list[int], stds: list[float]) -> int:
    members = [
        [std for std, label in zip(stds, labels, strict=True) if label == which] for which in (0, 1)
    ]
    duplicates = [len(group) - len(set(group)) for group in members]
    if duplicates[0] != duplicates[1]:
        return int(duplicates[1] > duplicates[0])
    majority = (
        labels[0] if len(members[0]) == len(members[1]) else int(len(members[1]) > len(members[0]))
    )
    return 1 - majority


def _reason(moments: Moments, i: int, accused: int) -> str:
    return (
        f"MANDERA: one of a cluster of {accused} among {len(moments.mean)}, "
        f"mean rank {float(moments.mean[i]):.2f}, rank spread {float(moments.std[i]):.2f}"
    )
