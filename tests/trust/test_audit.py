import itertools
import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tdml.trust.audit import (
    CLEAN,
    EXACT,
    LARGEST,
    LIED,
    UNSETTLED,
    Ruling,
    Tolerance,
    agree,
    choose_windows,
    conclude,
    edges,
    relative_error,
    why_void,
    window_probability,
    windows_that_fit,
)
from tdml.trust.blame import Blame

checked = settings(derandomize=True, deadline=None, max_examples=200)


# Windows


@given(st.integers(1, 200), st.integers(1, 20))
@checked
def test_windows_cover_all_steps_and_are_of_about_one_length(steps, windows):
    borders = edges(steps, windows)
    assert (borders[0], borders[-1]) == (0, steps)
    assert len(borders) == min(steps, windows) + 1
    lengths = [b - a for a, b in itertools.pairwise(borders)]
    assert min(lengths) >= 1
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(
    ("windows", "size", "memory", "expected"),
    [(3, 100, 10_000, 3), (3, 100, 200, 3), (3, 100, 199, 2), (3, 100, 99, 1), (3, 100, 0, 1), (5, 0, 0, 1)],
)
def test_windows_that_fit_keep_inner_states_only(windows, size, memory, expected):
    assert windows_that_fit(windows, size, memory) == expected


@pytest.mark.parametrize(("rate", "windows"), [(0.1, 3), (0.5, 4), (1.0, 3), (0.3, 1)])
def test_audited_windows_come_as_often_as_they_should(rate, windows):
    generator = torch.Generator().manual_seed(0)
    rounds = 4000
    drawn = [choose_windows(rate, windows, generator) for _ in range(rounds)]
    audited = sum(bool(chosen) for chosen in drawn) / rounds
    assert audited == pytest.approx(rate, abs=4 * math.sqrt(rate * (1 - rate) / rounds) + 1e-9)
    each = window_probability(rate, windows)
    for window in range(windows):
        share = sum(window in chosen for chosen in drawn) / rounds
        assert share == pytest.approx(each, abs=4 * math.sqrt(each * (1 - each) / rounds) + 1e-9)
    assert {window for chosen in drawn for window in chosen} == set(range(windows))


def test_chance_of_a_window_is_about_its_share_of_the_rate():
    assert window_probability(1.0, 7) == 1.0
    assert window_probability(0.1, 1) == pytest.approx(0.1)
    assert 0.1 / 3 < window_probability(0.1, 3) < 0.1 / 3 * 1.06


def test_the_draw_depends_on_the_generator_alone():
    one, other = (choose_windows(0.5, 20, torch.Generator().manual_seed(seed)) for seed in (3, 4))
    assert one == choose_windows(0.5, 20, torch.Generator().manual_seed(3))
    assert one != other


# Errors and limits


def test_relative_error_by_hand():
    start = torch.zeros(2)
    assert relative_error(start, torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.0])) == 0.0
    assert relative_error(start, torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.0])) == pytest.approx(0.2)
    assert relative_error(start, torch.tensor([3.0, 3.0]), torch.tensor([3.0, 4.0])) == pytest.approx(0.2)
    assert relative_error(torch.ones(2), torch.tensor([4.0, 5.0]), torch.tensor([4.0, 4.0])) == pytest.approx(0.2)
    assert relative_error(start, torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.0])) == pytest.approx(2.0)
    assert relative_error(start, start, torch.tensor([1.0, 0.0])) == pytest.approx(1.0)


def test_relative_error_sees_one_bit():
    one = torch.ones(1000)
    other = one.clone()
    other[7] = torch.nextafter(other[7], torch.tensor(2.0))
    assert 0 < relative_error(torch.zeros(1000), one, other) < 1e-8


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_relative_error_of_what_is_not_finite_is_infinite(bad):
    start, spoilt = torch.zeros(2), torch.tensor([bad, 1.0])
    assert relative_error(start, spoilt, torch.ones(2)) == math.inf
    assert relative_error(start, torch.ones(2), spoilt) == math.inf


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_in_the_same_places_is_equal(bad):
    one = torch.tensor([bad, 1.0])
    assert relative_error(torch.zeros(2), one, one.clone()) == 0.0
    assert relative_error(torch.zeros(2), one, torch.tensor([bad, 2.0])) == math.inf


def test_relative_error_of_huge_values_is_no_overflow():
    start, huge = torch.zeros(2), torch.full((2,), 3e38)
    assert relative_error(start, huge, -huge) == pytest.approx(2.0)


def test_tolerance_is_learnt_from_the_median_of_a_pair_of_kinds():
    tolerance = Tolerance()
    for error in (1e-4, 3e-4):
        tolerance.add("cpu", "gpu", error)
        assert tolerance.limit("cpu", "gpu") == EXACT
    tolerance.add("gpu", "cpu", 2e-4)
    assert tolerance.limit("gpu", "cpu") == tolerance.limit("cpu", "gpu") == pytest.approx(16e-4)
    assert tolerance.limit("cpu", "cpu") == EXACT


def test_tolerance_forgets_what_is_long_past():
    tolerance = Tolerance()
    for error in [1e-3] * 500 + [0.0] * 60:
        tolerance.add("a", "a", error)
    assert tolerance.limit("a", "a") == EXACT
    assert len(tolerance.seen["a / a"]) < 200


@given(st.lists(st.floats(0, 0.05), min_size=3, max_size=12))
@checked
def test_tolerance_stays_between_its_bounds(errors):
    tolerance = Tolerance()
    for error in errors:
        tolerance.add("a", "a", error)
    expected = min(max(8 * statistics.median(errors), EXACT), LARGEST)
    assert tolerance.limit("a", "a") == pytest.approx(expected)


# The consensus


def brute_force(distances):
    """The consensus of the definition, with loops: who has more than half within the least radius."""
    count = len(distances)
    radii = []
    for i in range(count):
        radii.append(min(r for r in distances[i] if sum(d <= r for d in distances[i]) > count / 2))
    centre = min(range(count), key=lambda i: radii[i])
    limit = max(1e-5, 8 * radii[centre])
    return centre, limit, tuple(i for i in range(count) if distances[centre][i] > limit)


@st.composite
def positions(draw):
    """Distances of validators on a line; None is a result that nothing can be compared with."""
    places = draw(st.lists(st.one_of(st.none(), st.sampled_from([0.0, 1e-6, 0.25, 0.5, 4.0])), min_size=2, max_size=8))

    def between(i, j):
        if i == j:
            return 0.0
        a, b = places[i], places[j]
        return math.inf if a is None or b is None else abs(a - b)

    return [[between(i, j) for j in range(len(places))] for i in range(len(places))]


@given(positions())
@checked
def test_consensus_equals_brute_force(distances):
    consensus = agree(torch.tensor(distances, dtype=torch.float64))
    assert (consensus.centre, consensus.limit, consensus.dissenters) == brute_force(distances)


@given(st.integers(3, 9), st.data())
@checked
def test_a_minority_of_liars_who_collude_neither_leads_nor_widens_the_limit(count, data):
    """They know what the honest find and choose their distances to them freely; among themselves they agree."""
    liars = data.draw(st.sets(st.integers(0, count - 1), max_size=(count - 1) // 2))
    far = data.draw(st.sampled_from([1e-4, 0.3, 2.0, math.inf]))
    distances = torch.zeros(count, count, dtype=torch.float64)
    for i, j in itertools.product(range(count), repeat=2):
        if (i in liars) != (j in liars):
            distances[i, j] = far
    consensus = agree(distances)
    assert consensus.centre not in liars
    assert consensus.limit == EXACT
    assert set(consensus.dissenters) == liars


@given(st.lists(st.floats(0.001, 0.01), min_size=5, max_size=5), st.floats(0.5, 10))
@checked
def test_the_limit_is_the_honest_scatter(places, far):
    """Three honest validators who are not exact, two liars: one limit, of the scatter of the honest."""
    everyone = [*places[:3], places[3] + far, places[4] - far]
    distances = torch.tensor([[abs(a - b) for b in everyone] for a in everyone], dtype=torch.float64)
    consensus = agree(distances)
    assert consensus.centre in range(3)
    assert consensus.limit <= max(EXACT, 8 * (max(places[:3]) - min(places[:3]))) + 1e-12
    assert set(range(3)).isdisjoint(consensus.dissenters)


def test_two_who_disagree_convict_nobody():
    consensus = agree(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert consensus.limit == 8.0
    assert consensus.dissenters == ()


# The outcome


def test_outcome_of_several_windows():
    clean = Ruling(CLEAN, 0.0, EXACT, (0, 1, 3), 0)
    lied = Ruling(LIED, 0.7, EXACT, (0, 1, 3), 0, blamed=(1,), dissenters=(3,))
    lied_too = Ruling(LIED, 0.2, EXACT, (0, 1, 3), 0, blamed=(0, 1))
    unsettled = Ruling(UNSETTLED, math.inf, EXACT, (0,), 0)
    outcome = conclude({2: lied, 0: clean, 1: unsettled}, True, {})
    assert (outcome.result, outcome.blamed, outcome.full) == (LIED, (1,), True)
    first, second = outcome.reason.split("; ")
    assert first.startswith("audit of window 1: off by inf of the change")
    assert second == "audit of window 2: off by 0.7 of the change that 2 of 3 validators found, limit 1e-05"
    assert conclude({0: lied, 1: lied_too}, False, {}).blamed == (0, 1)
    assert conclude({0: clean, 1: unsettled}, True, {}).result == UNSETTLED
    assert conclude({0: clean, 1: unsettled}, True, {}).blamed == ()
    good = conclude({0: clean}, False, {})
    assert (good.result, good.reason, good.full, good.rulings) == (CLEAN, "", False, {0: clean})


def test_a_ruling_that_says_nothing_of_anybody():
    void = Ruling(UNSETTLED, 0.7, EXACT, (0, 1, 3), 0, unsteady=(0, 3), void=True)
    apart = Ruling(UNSETTLED, 0.7, 4.0, (0, 1, 3), -1, void=True)
    dispute = Ruling(UNSETTLED, 0.7, EXACT, (0, 1), 0, disputes=((0, 1),))
    assert conclude({0: void}, True, {}).reason == "audit of window 0: r0's and r3's own repetitions differ"
    assert conclude({2: apart}, True, {}).reason.endswith("2: r0, r1 and r3 find different ends of the same steps")
    assert conclude({0: void, 1: apart}, True, {}).void
    assert not conclude({0: void, 1: dispute}, True, {}).void
    assert why_void([dispute, apart, void]).startswith("r0, r1 and r3 find")
    assert why_void([dispute]) == ""


def test_what_acquits_keeps_only_answers_that_do_not_fit_together():
    lied = Ruling(LIED, 0.7, EXACT, (0, 1, 3), 0, (1,), {1: Blame((0,)), 3: Blame((1,))}, ((0, 1),))
    acquitted = lied.acquit(UNSETTLED, [3], (1,))
    assert acquitted == Ruling(UNSETTLED, 0.7, EXACT, (0, 1, 3), 0, (), {3: Blame((1,))}, (), (1,), (), True)
    assert (lied.accuses, Ruling(CLEAN, 0.0, EXACT, (0,), 0).accuses) == (True, False)


@pytest.mark.parametrize(("limit", "full"), [(0.009, True), (0.011, False)])
def test_validators_who_are_far_apart_clear_nobody(limit, full):
    rulings = {0: Ruling(CLEAN, 0.0, 1e-5, (0, 1, 3), 0), 1: Ruling(CLEAN, 0.0, limit, (0, 1, 3), 0)}
    assert conclude(rulings, True, {}).full == full
