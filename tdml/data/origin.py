"""Which rows of a user's file the samples of a data set are, where others of them are held out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Origin:
    """A data set says so as its `origin`.

    `rows` (samples,) int64 are counted from 0, in a file that has `count` of them. A message calls
    the first of them `place` `first`, such as line 2.
    """

    rows: np.ndarray
    count: int
    place: str
    first: int

    def named(self, row: int) -> str:
        """Such as "line 33"."""
        return f"{self.place} {self.first + row}"


def origin_of(dataset: object) -> Origin | None:
    """None where samples are known by their numbers in the data set alone."""
    origin = getattr(dataset, "origin", None)
    return origin if isinstance(origin, Origin) else None


def places_of(dataset: object, samples: Sequence[int]) -> str:
    """Where some samples are in the user's file, such as " (lines 33, 7)"; "" without one."""
    origin = origin_of(dataset)
    if origin is None:
        return ""
    rows = ", ".join(str(origin.first + row) for row in origin.rows[list(samples)])
    return f" ({origin.place}{'s' * (len(samples) > 1)} {rows})"
