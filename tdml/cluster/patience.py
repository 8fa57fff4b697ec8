"""How long a node may say that it is still at work, where no round's deadline ends that."""

import time
from collections import deque
from collections.abc import Callable

from tdml.cluster.promptness import Promptness

_FACTOR, _LEAST_S = 5.0, 60.0  # even a machine that does other things, too, is not slower
_KEPT = 64  # trainings, of all replicas
# Of a state that is brought to the host and hashed, as after every step of a look or a dispute: a
# tenth of what two slow cores do. On GPUs this takes longer than the step.
_BYTES_A_SECOND = 1e8


class Patience:
    """How long the replicas of a fleet may take: it follows from how long they took to train.

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
        """Note how long a replica took to train on so many samples."""
        self._pace.append(seconds / samples)

    def late(self, samples: int, states: int = 0) -> Callable[[], str | None]:
        """A function that says, from now on, why not to wait any longer for a replica that repeats
        steps on so many samples, or evaluates them, and tells the digests of so many states; None
        while there is no reason."""
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
