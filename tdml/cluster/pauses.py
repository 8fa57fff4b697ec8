"""Whether this process has stood still: stopped, or with its whole machine asleep. Meanwhile nobody
could reach it."""

import threading
import time

_LOOK_S = 0.5


class Pauses:
    """Looks at the clock now and then, in a thread of its own."""

    def __init__(self, limit: float) -> None:
        """`limit`: seconds without a look that are a pause."""
        self._limit = limit
        # how many until the last look, and when that was: in one, for others read it meanwhile
        self._seen = 0, _now()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def count(self) -> int:
        """How many there have been, the one that has just ended among them."""
        return self._until(_now())

    def _until(self, now: float) -> int:
        past, looked = self._seen
        return past + (now - looked > self._limit)

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_S)
            now = _now()
            self._seen = self._until(now), now


def _now() -> float:
    """Of a clock that goes on while the machine is asleep."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
