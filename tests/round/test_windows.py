"""The windows of a round."""

import pytest

from tdml.round.windows import window_bounds, windows_that_fit


@pytest.mark.parametrize(
    ("steps", "windows", "expected"),
    [(10, 3, (0, 3, 7, 10)), (2, 3, (0, 1, 2)), (1, 3, (0, 1)), (9, 1, (0, 9))],
)
def test_edges_of_windows(steps: int, windows: int, expected: tuple[int, ...]) -> None:
    assert window_bounds(steps, windows) == expected


def test_as_many_windows_as_fit() -> None:
    assert [windows_that_fit(3, 100, memory) for memory in (0, 99, 100, 200, 500)] == [
        1,
        1,
        2,
        3,
        3,
    ]
