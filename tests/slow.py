"""Cases that only `-m slow` plays, beside some of their kind that the default suite has."""

from collections.abc import Container, Iterable
from typing import Any

import pytest


def slow_but(kept: Container[Any], cases: Iterable[Any]) -> list:
    """The cases of a test, slow but for those that are `kept`."""
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=() if case in kept else pytest.mark.slow,
        )
        for case in cases
    ]
