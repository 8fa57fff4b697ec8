"""When to stop waiting for a slow replica, without asking the user to guess."""

import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence

from tdml.protocol.orders import ReplicaLost

_FACTOR, _SLACK_S = 3.0, 30.0
_DEVIATIONS = 6.0  # of a normal distribution, of which a round's end is no longer chance
_MAD_TO_STD = 1.4826  # of a normal distribution
_ENOUGH = 3  # replicas of which a limit follows: of two, either may be the slow one
_KEPT = 64  # times of earlier rounds


class Pace:
    """How long replicas took in the last rounds: (replica, seconds). Not kept in checkpoints."""

    def __init__(self) -> None:
        self.seconds: deque[tuple[int, float]] = deque(maxlen=_KEPT)


class Deadline:
    """The deadline of one round, shared by the threads that wait for its replicas."""

    def __init__(self, pace: Pace, seconds: float | None, replicas: Iterable[int] = ()) -> None:
        """
        Args:
            pace: of earlier rounds; what this one takes is added.
            seconds: as the user has set it.
            replicas: that are waited for.
        """
        self._pace, self._seconds = pace, seconds
        self._known = list(pace.seconds)  # of this round all: there may be more than are kept
        self._waiting = {*replicas}
        self._start = time.monotonic()
        self._lock = threading.Lock()
        self.late: set[int] = set()  # replicas that were given up

    def finished(self, replica: int) -> None:
        """Note that a replica has finished.

        Raises:
            ReplicaLost: it is too late.
        """
        if late := self.passed(replica):
            raise ReplicaLost(replica, late)
        taken = replica, time.monotonic() - self._start
        with self._lock:
            self._known.append(taken)
            self._pace.seconds.append(taken)
        self.leave(replica)

    def leave(self, replica: int) -> None:
        """Wait for a replica no more: it is lost, or was to do something else."""
        with self._lock:
            self._waiting.discard(replica)

    def passed(self, replica: int) -> str | None:
        """Why not to wait for a replica any longer, or None."""
        with self._lock:
            known, waiting = list(self._known), list(self._waiting)
        elapsed = time.monotonic() - self._start
        # the replicas that have not finished count as infinitely slow: so a few that take no steps,
        # and are done at once, set no limit
        if elapsed <= deadline([*known, *((i, math.inf) for i in waiting)], self._seconds):
            return None
        self.late.add(replica)
        cause = (
            "sync.deadline"
            if self._seconds
            else f"others and earlier rounds took {statistics.median(s for _, s in known):.1f} s"
        )
        return f"late: not done after {elapsed:.1f} s ({cause})"


def deadline(known: Sequence[tuple[int, float]], seconds: float | None) -> float:
    """Seconds that a replica may take: as set by the user; or the median of the times of this round
    and earlier ones plus six standard deviations, as the median absolute deviation tells them, and
    no less than three times the median plus 30 s, for a machine may be slow and steady.

    Args:
        known: replicas, and how long they took. There is no limit unless they are three; nor where
            half of the times are infinite.
    """
    if seconds is not None:
        return seconds
    if len({replica for replica, _ in known}) < _ENOUGH:
        return math.inf
    median = statistics.median(time for _, time in known)
    if median == math.inf:
        return math.inf
    deviation = _MAD_TO_STD * statistics.median(abs(time - median) for _, time in known)
    return max(median + _DEVIATIONS * deviation, _FACTOR * median + _SLACK_S)
