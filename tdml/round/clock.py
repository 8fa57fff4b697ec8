"""Where a round's time goes."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

PHASES = (
    "broadcast",
    "train",
    "gather",
    "screen",
    "cross_check",
    "audit",
    "aggregate",
    "evaluate",
    "record",
)


class Stopwatch:
    """Seconds by phase."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._spent: dict[str, float] = defaultdict(float)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time inside of the block to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._spent[name] += time.perf_counter() - start

    @property
    def seconds(self) -> dict[str, float]:
        """All phases and the total, rounded to milliseconds."""
        everything = {name: self._spent[name] for name in PHASES}
        return {
            k: round(v, 3)
            for k, v in (everything | {"total": time.perf_counter() - self._start}).items()
        }
