"""How long a node may say that it is still at it, where no round's deadline ends that."""

import time
from collections import deque
from collections.abc import Callable

from tdml.cluster.promptness import Promptness

_FACTOR, _LEAST_S = 5.0, 60.0  # a machine that does other things, too, is no worse
_KEPT = 64  # trainings, of all replicas
# Of a state that is brought to the host and hashed, as after every step of a look or a dispute: a
# tenth of what two slow cores do. On GPUs this takes longer than the step.
_BYTES_A_SECOND = 1e8


class Patience:
    """Of a fleet: what its replicas took to train tells how long samples may take them.

    Args:
        batch: samples that are computed together; fewer are filled up.
        timeout: seconds for which a node may be silent.
        state_bytes: of the largest stage's training state.
    """

    def __init__(self, batch: int, timeout: float, state_bytes: int) -> None:
        self._batch, self._slack = batch, max(_LEAST_S, timeout)
        self._seconds_a_state = state_bytes / _BYTES_A_SECOND
        self.promptness = Promptness(timeout)
        self._pace: deque[float] = deque(maxlen=_KEPT)  # seconds a sample

    def trained(self, samples: int, seconds: float) -> None:
        """A replica took so long for so many samples."""
        self._pace.append(seconds / samples)

    def late(self, samples: int, states: int = 0) -> Callable[[], str | None]:
        """Asked from now on: why not to wait any longer for who repeats steps on so many samples,
        or evaluates them, and tells so many states; None while there is no reason."""
        start = time.monotonic()
        longest = max(self._pace, default=float("inf"))
        seconds = longest * -(-samples // self._batch) * self._batch
        limit = self._slack + _FACTOR * seconds + states * self._seconds_a_state

        def reason() -> str | None:
            if (elapsed := time.monotonic() - start) <= limit:
                return None
            return (
                f"late: not done after {elapsed:.1f} s (training on as much took {seconds:.1f} s)"
            )

        return reason
