from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdml.rewards.entries import Verdict, read
from tdml.rewards.policies import divide, policy_of
from tests.rewards.stories import verdict

SHARES = [400_000, 600_000]


def weights(policy, *bodies):
    return policy_of(policy, SHARES).weights([read(body, Verdict) for body in bodies])


def test_equal():
    assert weights("equal", verdict(0, samples=0), verdict(1, samples=9)) == [[1, 1], [1, 1]]


def test_work_is_samples_by_share_whatever_the_verdict():
    found = weights("work", verdict(0, samples=10), verdict(1, "malicious", ["r1.s0"], samples=3))
    assert found == [[4_000_000, 6_000_000], [1_200_000, 1_800_000]]


def test_improvement_is_never_below_zero():
    found = weights("improvement", verdict(0, improvement=-1), verdict(1, improvement=10))
    assert found == [[0, 0], [4_000_000, 6_000_000]]


def test_a_spoilt_improvement_counts_as_the_mean_of_the_others():
    bodies = [
        verdict(0, "malicious", ["r0.s1"], improvement=-900),
        verdict(1, improvement=10),
        verdict(2, "suspicious"),
    ]
    assert weights("improvement", *bodies)[0] == [5 * 400_000, 5 * 600_000]
    assert weights("improvement", bodies[0]) == [[0, 0]]
    assert weights("improvement", verdict(0, "malicious", improvement=1), bodies[1])[0] == SHARES


def test_an_unknown_policy_is_told():
    with pytest.raises(ValueError, match="no policy luck: choose from work, equal, improvement"):
        policy_of("luck", SHARES)


@pytest.mark.parametrize(
    ("pool", "rows", "expected"),
    [
        (10, [[1, 1], [1, 0]], [[3, 3], [3, 0]]),
        (0, [[1, 2]], [[0, 0]]),
        (10, [[0, 0]], [[0, 0]]),
        (10, [], []),
        (2**53 - 1, [[2**60], [0]], [[2**53 - 1], [0]]),
    ],
)
def test_division(pool, rows, expected):
    assert divide(pool, rows) == expected


ROWS = st.lists(st.lists(st.integers(0, 2**70), min_size=1, max_size=3), min_size=1, max_size=6)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.integers(0, 2**53 - 1), ROWS)
def test_no_part_is_a_unit_short_of_its_exact_proportion(pool, rows):
    total = sum(map(sum, rows))
    parts = divide(pool, rows)
    for row, found in zip(rows, parts, strict=True):
        for weight, part in zip(row, found, strict=True):
            assert 0 <= Fraction(pool * weight, max(total, 1)) - part < 1
    assert not total or 0 <= pool - sum(map(sum, parts)) < sum(map(len, rows))
