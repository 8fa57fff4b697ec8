"""t and what is expected of it, against an independent plain implementation."""

import math

import numpy as np
import pytest
import torch

from tdml.trust.advantage import _EPSILON, _LEAST_MISSING, _LEAST_WEIGHT, own_advantage
from tdml.trust.exam import Exam
from tests.trust.exams import make_exam, seeded
from tests.trust.test_medians import plain_median_of_others


def distinct(exam):
    """The first of the samples of one owner and class on which every model loses the same."""
    columns = zip(exam.owners.tolist(), exam.labels.tolist(), exam.before.tolist(), *exam.after.tolist(), strict=True)
    kept = sorted({column: place for place, column in reversed(list(enumerate(columns)))}.values())
    return Exam(exam.before[kept], exam.after[:, kept], exam.labels[kept], exam.owners[kept])


def plain_advantage(exam, alike, trusted):
    exam = distinct(exam)
    epsilon = _EPSILON[alike]

    def finite(loss):
        return 1e4 if not math.isfinite(loss) else min(max(loss, 0.0), 1e4)

    before = [finite(x) for x in exam.before.tolist()]
    logs = np.array([[math.log(finite(x) + epsilon) for x in row] for row in exam.after.tolist()])
    owners, count, samples = exam.owners.tolist(), len(logs), len(before)
    labels = exam.labels.tolist() if alike else [0] * samples
    usual = [math.exp(np.median(logs[trusted, s])) - epsilon for s in range(samples)]
    missing = [1 - math.exp(-(max(0.0, usual[s]) + before[s]) / 2) for s in range(samples)]
    weight = [missing[s] + _LEAST_WEIGHT if alike else 1.0 for s in range(samples)]
    peers = plain_median_of_others(logs, trusted)
    ts, chances, left = [], [], []
    for i in range(count):
        gain = peers[i] - logs[i]
        controls, level, error = {}, {}, {}
        for label in set(labels):
            rows = [s for s in range(samples) if labels[s] == label and owners[s] != i]
            if len(rows) < 3:
                continue
            controls[label] = rows
            total = sum(weight[s] for s in rows)
            level[label] = sum(weight[s] * gain[s] for s in rows) / total
            error[label] = sum((weight[s] * (gain[s] - level[label])) ** 2 for s in rows) / total**2
        own = [s for s in range(samples) if owners[s] == i and labels[s] in controls]
        total = sum(weight[s] for s in own)
        t = None  # nothing to compare
        if len(own) >= 4:
            advantage = sum(weight[s] / total * (gain[s] - level[labels[s]]) for s in own)
            variance = sum((weight[s] / total * (gain[s] - level[labels[s]] - advantage)) ** 2 for s in own)
            for label in controls:
                variance += error[label] * (sum(weight[s] for s in own if labels[s] == label) / total) ** 2
            t = advantage / math.sqrt(variance) if variance > 0 else None
        ts.append(t or 0.0)
        mine = [s for s in range(samples) if owners[s] == i]
        chance = math.sqrt(sum(missing[s] ** 2 + _LEAST_MISSING**2 for s in mine)) if alike else 1.0
        chances.append(0.0 if t is None else chance)
        left.append(sum(missing[s] for s in mine) / len(mine) if mine else 0.0)
    expected = []
    for i in range(count):
        usable = [j for j in trusted if chances[j] > 0]
        others = [j for j in usable if j != i]
        usual = np.median([ts[j] for j in others]) if len(usable) >= 3 else 0.0
        measure = np.median([chances[j] for j in others]) if len(usable) >= 3 else 1.0
        expected.append(max(0.0, usual * min(1.0, chances[i] / measure)))
    return ts, expected, left


CASES = {
    "six": ({"gains": [0.3, 0.2, 0.0, 0.4, -0.3, 0.1]}, None),
    "two untrusted": ({"gains": [0.3, 0.2, 0.0, 0.4, -0.3, 0.1]}, [0, 2, 3, 5]),
    "one trusted": ({"gains": 0.3}, [2]),
    "two trusted": ({"gains": 0.3}, [1, 4]),
    "three trusted": ({"gains": 0.3}, [1, 4, 5]),
    "two": ({"replicas": 2, "gains": [0.3, 0.0]}, None),
    "three": ({"replicas": 3, "gains": [0.3, 0.0, 0.5]}, None),
    "three without held-out samples": ({"replicas": 3, "gains": 0.3, "held_out": 0}, None),
    "four without held-out samples": ({"replicas": 4, "gains": 0.3, "held_out": 0}, None),
    "rare classes": ({"replicas": 5, "own": 12, "held_out": 5, "classes": 20, "gains": 0.5}, None),
    "few own samples": ({"replicas": 5, "own": 5, "gains": 0.5}, None),
    "no own samples": ({"replicas": 5, "own": 0}, None),
}


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize(("settings", "trusted"), CASES.values(), ids=CASES.keys())
def test_t_and_what_is_expected_by_plain_loops(settings, trusted, alike):
    exam = make_exam(**settings, seed=3)
    trusted = trusted or list(range(len(exam.after)))
    found = own_advantage(exam, alike, trusted)
    t, expected, missing = plain_advantage(exam, alike, trusted)
    np.testing.assert_allclose(found.t, t, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found.expected, expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found.missing, missing, rtol=1e-7, atol=1e-9)
    assert (found.t.dtype, found.expected.dtype) == (torch.float64, torch.float64)


@pytest.mark.parametrize("alike", [True, False])
def test_copies_of_samples_change_nothing(alike):
    exam = make_exam(gains=[0.3, 0.2, 0.0, 0.4, -0.3, 0.1], seed=3)
    drawn = torch.randint(len(exam.labels), (500,), generator=seeded(5))
    places = torch.cat([torch.arange(len(exam.labels)), drawn])[
        torch.randperm(len(exam.labels) + 500, generator=seeded(6))
    ]
    copied = Exam(exam.before[places], exam.after[:, places], exam.labels[places], exam.owners[places])
    one, other = (own_advantage(found, alike, range(6)) for found in (exam, copied))
    for field in ("t", "expected", "missing"):
        np.testing.assert_allclose(getattr(other, field), getattr(one, field), rtol=1e-9)
    assert torch.equal(one.learnt, other.learnt)
    np.testing.assert_allclose(one.t, plain_advantage(copied, alike, range(6))[0], rtol=1e-7)


def test_the_same_losses_on_samples_of_others_or_of_another_class_are_no_copies():
    exam = make_exam(gains=0.3, seed=3)
    losses = exam.after.clone()
    losses[:, 1::2] = losses[:, ::2]  # neighbours are of two classes
    twins = Exam(exam.before, losses, exam.labels, exam.owners)
    assert len(distinct(twins).labels) == len(exam.labels)
    np.testing.assert_allclose(
        own_advantage(twins, True, range(6)).t, plain_advantage(twins, True, range(6))[0], rtol=1e-7
    )


def test_shares_of_one_candidate_of_another_size_and_labels_by_plain_loops():
    exam = make_exam(seed=4, gains=0.4, classes=5)
    keep = (exam.owners != 2) | (exam.labels == 1)  # few samples, of one class only
    exam = Exam(exam.before[keep], exam.after[:, keep], exam.labels[keep], exam.owners[keep])
    found = own_advantage(exam, True, [0, 1, 3, 4, 5])
    t, expected, _ = plain_advantage(exam, True, [0, 1, 3, 4, 5])
    np.testing.assert_allclose(found.t, t, rtol=1e-7)
    np.testing.assert_allclose(found.expected, expected, rtol=1e-7)
    assert 0 < found.expected[2] < 0.6 * found.expected[1]
    assert found.t.min() > 0
