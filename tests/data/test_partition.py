import numpy as np
import pytest

from tdml.data.partition import partition
from tdml.errors import SettingError

LABELS = [i % 10 for i in range(2000)]


def split(kind="iid", labels=LABELS, replicas=4, least=8, seed=0, alpha=0.5):
    return partition(kind, labels, len(labels), replicas, least, seed, alpha)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"replicas": 1},
        {"replicas": 7},
        {"labels": [0] * 8, "replicas": 8, "least": 1},
        {"kind": "contiguous"},
        {"kind": "contiguous", "labels": [0] * 11, "replicas": 3, "least": 3},
        {"kind": "dirichlet"},
        {"kind": "dirichlet", "alpha": 0.01},
        {"kind": "dirichlet", "alpha": 1e-12},
        {"kind": "dirichlet", "alpha": 1e6},
        {"kind": "dirichlet", "replicas": 1},
        {"kind": "dirichlet", "labels": [3, 5] * 4, "replicas": 1, "least": 8},
        {"kind": "dirichlet", "labels": [3, 5] * 50, "replicas": 3},
    ],
    ids=str,
)
def test_every_sample_goes_to_one_replica(settings):
    shares = split(**settings)
    assert len(shares) == settings.get("replicas", 4)
    assert sorted(np.concatenate(shares).tolist()) == list(
        range(len(settings.get("labels", LABELS)))
    )
    for share in shares:
        assert len(share) >= settings.get("least", 8)
        assert share.tolist() == sorted(share.tolist())
        assert share.dtype == np.int64


@pytest.mark.parametrize(
    ("samples", "replicas", "sizes"), [(8, 4, [2, 2, 2, 2]), (11, 3, [4, 4, 3])]
)
def test_iid_shares_are_equal(samples, replicas, sizes):
    assert [len(share) for share in partition("iid", None, samples, replicas, 1, 0, 1.0)] == sizes


def test_contiguous_shares_are_runs_of_neighbours():
    shares = split("contiguous", replicas=3)
    assert [len(share) for share in shares] == [667, 667, 666]
    assert np.concatenate(shares).tolist() == list(range(2000))


def test_iid_shares_have_all_classes_of_sorted_data():
    labels = sorted(LABELS)
    for share in split(labels=labels):
        assert len({labels[i] for i in share}) == 10


@pytest.mark.parametrize("kind", ["iid", "dirichlet"])
def test_shares_are_not_runs_of_neighbours(kind):
    for share in split(kind, labels=[0] * 2000, alpha=100.0):
        assert share[-1] - share[0] > 1900


@pytest.mark.parametrize("kind", ["iid", "dirichlet"])
def test_the_seed_decides(kind):
    first, again, other = split(kind), split(kind), split(kind, seed=1)
    assert [share.tolist() for share in first] == [share.tolist() for share in again]
    assert [share.tolist() for share in first] != [share.tolist() for share in other]


def largest_class(share):
    return np.bincount([LABELS[i] for i in share], minlength=10).max() / len(share)


def test_alpha_is_how_even_the_classes_are():
    skewed, even = (
        np.mean(
            [
                largest_class(share)
                for seed in range(5)
                for share in split("dirichlet", alpha=alpha, seed=seed)
            ]
        )
        for alpha in (0.05, 1000.0)
    )
    assert skewed > 0.4
    assert 0.1 <= even < 0.13


def test_dirichlet_proportions_have_the_distributions_spread():
    # A class's share of one of n replicas has mean 1/n and variance (1/n)(1 − 1/n)/(nα + 1).
    alpha, replicas, found = 0.5, 4, []
    for seed in range(60):
        for share in split("dirichlet", alpha=alpha, seed=seed, least=1):
            found += (np.bincount([LABELS[i] for i in share], minlength=10) / 200).tolist()
    assert np.mean(found) == pytest.approx(1 / replicas, abs=0.005)
    assert np.var(found) == pytest.approx(
        (1 / replicas) * (1 - 1 / replicas) / (replicas * alpha + 1), rel=0.1
    )


@pytest.mark.parametrize("kind", ["iid", "dirichlet"])
def test_too_few_samples_for_a_batch_each(kind):
    with pytest.raises(
        SettingError,
        match=r"train\.batch_size: 2000 training samples are too few .* 501 in each of 4 replicas",
    ):
        split(kind, least=501)
    assert [len(share) for share in split("iid", least=500)] == [500] * 4


def test_so_skewed_that_a_replica_never_gets_a_batch():
    with pytest.raises(SettingError, match=r"data\.alpha=0\.001 .* never gets the 3 samples"):
        split("dirichlet", labels=[0] * 12, replicas=4, least=3, alpha=0.001)
