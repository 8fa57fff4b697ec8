import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdml.rewards.entries import Terms, Verdict, read
from tdml.rewards.policies import POLICIES, divide, policy_of
from tests.rewards.stories import job, verdict

SHARES = [400_000, 600_000]


def weights(policy, *bodies):
    return POLICIES[policy](read(job(), Terms)).weights([read(body, Verdict) for body in bodies])


def paid(*bodies, **changes):
    return policy_of(read(job(**changes), Terms)).parts([read(body, Verdict) for body in bodies])


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
    with pytest.raises(ValueError, match="no policy luck: choose from work, equal, improvement, "):
        paid(policy="luck")


# What a round pays


@pytest.mark.parametrize(("policy", "each"), [("work", [400, 600]), ("equal", [500, 500])])
def test_work_has_the_same_price_whoever_else_hands_in(policy, each):
    whole = [verdict(replica) for replica in range(3)]
    for handed_in in (whole, whole[:2], whole[1:2]):
        assert paid(*handed_in, policy=policy) == [each] * len(handed_in)


def test_who_takes_fewer_steps_earns_less_and_others_earn_what_they_would():
    assert paid(verdict(0, samples=10), verdict(1)) == [[40, 60], [400, 600]]


@pytest.mark.parametrize("policy", ["work", "equal"])
def test_more_work_than_the_job_has_named_divides_the_pool(policy):
    names = [verdict(replica) for replica in range(5)]
    row = {"work": [240, 360], "equal": [300, 300]}[policy]
    assert paid(*names, policy=policy) == [row] * 5


def test_improvement_divides_the_pool_among_those_who_hand_in():
    assert paid(verdict(0, improvement=3), policy="improvement") == [[1200, 1800]]
    both = [verdict(0, improvement=3), verdict(1, improvement=1)]
    assert paid(*both, policy="improvement") == [[900, 1350], [300, 450]]


@pytest.mark.parametrize("chance", [0.05, 0.25, 0.5, 1.0])
def test_a_verified_window_is_paid_for_all_that_it_stands_for(chance):
    bodies = [verdict(0, repeated=20), verdict(1), verdict(2, samples=50, repeated=50)]
    stands_for = 1 / Fraction(chance)
    row = [int(stands_for * 400 / 5), int(stands_for * 600 / 5)]
    half = [int(stands_for * 200), int(stands_for * 300)]
    assert paid(*bodies, policy="verified", audit_chance=chance) == [row, [0, 0], half]


def test_what_is_verified_is_paid_for_at_no_more_than_the_pool_on_average():
    """As with more steps since a resume."""
    bodies = [verdict(replica, repeated=100) for replica in range(5)]
    assert paid(*bodies, policy="verified", audit_chance=1.0) == [[240, 360]] * 5


def test_chance_pays_as_much_for_verified_work_on_average_as_is_paid_for_all():
    """Three windows, each with all that chance may do to them."""
    chance, sizes = Fraction(1, 4), (50, 30, 20)
    mean = [Fraction(0), Fraction(0)]
    for chosen in itertools.product((False, True), repeat=len(sizes)):
        likely = math.prod(chance if each else 1 - chance for each in chosen)
        repeated = sum(itertools.compress(sizes, chosen))
        [row] = paid(verdict(0, repeated=repeated), policy="verified", audit_chance=0.25)
        mean = [so_far + likely * part for so_far, part in zip(mean, row, strict=True)]
    assert mean == [400, 600]


def test_a_round_without_samples_pays_nothing_for_being_verified():
    assert paid(verdict(0, samples=0, repeated=0), policy="verified") == [[0, 0]]


def test_without_audits_no_work_is_verified():
    with pytest.raises(ValueError, match="only what was repeated is paid"):
        paid(verdict(0), policy="verified", audit_chance=0.0)


@pytest.mark.parametrize(
    ("pool", "rows", "full", "expected"),
    [
        (10, [[1, 1], [1, 0]], 0, [[3, 3], [3, 0]]),
        (10, [[1, 1], [1, 0]], 2, [[3, 3], [3, 0]]),
        (10, [[1, 1], [1, 0]], 4, [[2, 2], [2, 0]]),
        (0, [[1, 2]], 3, [[0, 0]]),
        (10, [[0, 0]], 0, [[0, 0]]),
        (10, [[0, 0]], 7, [[0, 0]]),
        (10, [], 0, []),
        (2**53 - 1, [[2**60], [0]], 0, [[2**53 - 1], [0]]),
    ],
)
def test_division(pool, rows, full, expected):
    assert divide(pool, rows, full) == expected


ROWS = st.lists(st.lists(st.integers(0, 2**70), min_size=1, max_size=3), min_size=1, max_size=6)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.integers(0, 2**53 - 1), ROWS, st.integers(0, 2**72))
def test_no_part_is_a_unit_short_of_its_exact_proportion_and_all_are_no_more_than_the_pool(
    pool, rows, full
):
    total = max(full, sum(map(sum, rows)), 1)
    found = divide(pool, rows, full)
    for row, parts_of_row in zip(rows, found, strict=True):
        for weight, part in zip(row, parts_of_row, strict=True):
            assert 0 <= Fraction(pool * weight, total) - part < 1
    assert sum(map(sum, found)) <= pool
