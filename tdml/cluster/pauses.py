"""Whether this process has stood still: stopped, or with its whole machine asleep. Meanwhile nobody
could reach it."""

import threading
import time

_LOOK_S = 0.5


class Pauses:
    """Looks at the clock now and then, in a thread of its own."""

    def __init__(self, limit: float) -> None:
        """`limit`: seconds without a look that are a pause."""
        self._limit, self._past = limit, 0
        self._looked = _now()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def count(self) -> int:
        """How many there have been, the one that has just ended among them."""
        return self._past + (_now() - self._looked > self._limit)

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_S)
            self._past, self._looked = self.count, _now()


def _now() -> float:
    """Of a clock that goes on while the machine is asleep."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
