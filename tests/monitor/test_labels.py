"""Labels that do not cover each other."""

from itertools import pairwise

import pytest

from tdml.monitor.labels import shorten, spread


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([0.5], [0.5]),
        ([0.2, 0.8], [0.2, 0.8]),
        ([0.5, 0.5], [0.45, 0.55]),
        ([0.52, 0.5], [0.56, 0.46]),
        ([1.0, 1.0, 0.99], [0.9, 1.0, 0.8]),  # no higher than the top
        ([0.0], [0.0]),
        ([-3.0, 7.0], [0.0, 1.0]),
        ([0.5, 0.55, 0.66], [0.47, 0.57, 0.67]),  # a crowd that meets the next takes it in
    ],
)
def test_values_move_apart_and_stay_inside(values, expected):
    assert spread(values, least=0.1, low=0.0, high=1.0) == pytest.approx(expected)


def test_whatever_crowds_keeps_its_order_and_its_distance():
    values = [0.9, 0.901, 0.902, 0.3, 0.31, 0.1, 0.905, 0.899, 0.0, 1.0]
    places = spread(values, least=0.05, low=0.0, high=1.0)
    order = sorted(range(len(values)), key=lambda i: values[i])
    gaps = [places[b] - places[a] for a, b in pairwise(order)]
    assert min(gaps) > 0.05 - 1e-9
    assert min(places) >= 0 and max(places) <= 1


def test_too_many_for_the_room_are_still_apart():
    assert spread([0.5] * 5, least=0.5, low=0.0, high=1.0) == pytest.approx(
        [-0.5, 0.0, 0.5, 1.0, 1.5]
    )


@pytest.mark.parametrize(
    ("names", "title", "short"),
    [
        ([], "", []),
        (["demo"], "", ["demo"]),
        (["a-b-c"], "a · b", ["c"]),
        (["resnet18-paper-2x2", "resnet18-paper-1x1"], "resnet18 · paper", ["2x2", "1x1"]),
        (
            ["resnet18-paper-4x2", "resnet18-paper-4x2-gaussian"],
            "resnet18 · paper",
            ["4x2", "4x2-gaussian"],
        ),
        (["resnet18-x", "resnet50-x"], "", ["resnet18-x", "resnet50-x"]),
    ],
)
def test_what_all_names_begin_with_is_said_once(names, title, short):
    assert shorten(names) == (title, short)
