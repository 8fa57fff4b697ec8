"""How long a node may say that it is still at it, where no round's deadline ends that."""

import time
from collections import deque
from collections.abc import Callable

_FACTOR, _SLACK_S = 5.0, 60.0  # a machine that does other things, too, is no worse
_KEPT = 64  # trainings, of all replicas


class Patience:
    """Of a fleet: what its replicas took to train tells how long samples may take them."""

    def __init__(self) -> None:
        self._pace: deque[float] = deque(maxlen=_KEPT)  # seconds a sample

    def trained(self, samples: int, seconds: float) -> None:
        """A replica took so long for so many samples."""
        self._pace.append(seconds / samples)

    def late(self, samples: int) -> Callable[[], str | None]:
        """Asked from now on: why not to wait any longer for who repeats steps on so many samples,
        or evaluates them; None while there is no reason."""
        start = time.monotonic()
        longest = max(self._pace, default=float("inf"))
        limit = _SLACK_S + _FACTOR * longest * samples

        def reason() -> str | None:
            if (elapsed := time.monotonic() - start) <= limit:
                return None
            trains = f"{longest * samples:.1f} s for as many samples"
            return f"late: not done after {elapsed:.1f} s (replicas trained in {trains})"

        return reason
