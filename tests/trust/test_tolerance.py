"""Errors between kinds of machines, against a plain implementation."""

import math

import pytest
import torch

from tdml.trust.numbers import ERRORS, MOST_ERROR
from tdml.trust.tolerance import Tolerance, relative_error

_NAN, _INF = math.nan, math.inf


def _plain(start: list[float], one: list[float], other: list[float]) -> float:
    def length(a: list[float], b: list[float]) -> float:
        return math.sqrt(math.fsum((x - y) ** 2 for x, y in zip(a, b, strict=True)))

    return length(one, other) / max(length(one, start), length(other, start))


@pytest.mark.parametrize(
    ("start", "one", "other"),
    [
        ([0.0, 0.0], [3.0, 4.0], [3.0, 4.5]),
        ([1.0, 1.0], [1.0, 1.0], [1.0, 1.5]),  # one of the two has not moved
        ([1e30, 0.0], [1e30, 3e38], [1e30, 1e38]),  # squares that float32 cannot hold
        ([5.0], [6.0], [4.0]),
    ],
)
def test_an_error_is_relative_to_the_longer_of_the_two_changes(start, one, other):
    error = relative_error(*(torch.tensor(values) for values in (start, one, other)))
    exact = _plain(*(torch.tensor(values).tolist() for values in (start, one, other)))
    assert error == pytest.approx(exact, rel=1e-12)
    assert relative_error(*(torch.tensor(values) for values in (start, other, one))) == error


@pytest.mark.parametrize(
    ("one", "other", "error"),
    [
        ([1.0], [1.0], 0.0),
        ([_NAN, 1.0], [_NAN, 1.0], 0.0),
        ([_INF], [_INF], 0.0),
        ([_NAN], [1.0], _INF),
        ([_INF], [1.0], _INF),
        ([_INF], [-_INF], _INF),
        ([_NAN, 1.0], [_NAN, 2.0], _INF),
    ],
)
def test_what_is_not_finite_is_equal_or_infinitely_far(one, other, error):
    start = torch.zeros(len(one))
    assert relative_error(start, torch.tensor(one), torch.tensor(other)) == error


def test_the_limit_follows_the_median_of_what_was_seen_and_never_exceeds_the_most():
    tolerance = Tolerance()
    assert tolerance.limit("a", "b") == MOST_ERROR
    for error in (1e-7, 1e-6, 1.0):
        tolerance.learn("b", "a", error)
    assert tolerance.limit("a", "b") == tolerance.limit("b", "a") == pytest.approx(ERRORS * 1e-6)
    assert tolerance.limit("a", "c") == MOST_ERROR
    assert tolerance.limit("a", "a") == 0.0
    tolerance.learn("a", "b", 1.0)
    tolerance.learn("a", "b", 1.0)
    assert tolerance.limit("a", "b") == MOST_ERROR
