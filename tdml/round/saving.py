"""Checkpoints are written while the next round is played."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait


class Saving:
    """Writes one checkpoint after the other, in a thread of its own.

    Whoever records the end of a round calls `finish` first: so a run that is killed at any moment
    has lost at most the round under way and the one before it. There is one checkpoint as soon as
    the first round is recorded: that one is waited for.
    """

    def __init__(self, last: int) -> None:
        self.last = last  # the last round whose checkpoint is on the disk; 0: none is
        self._thread = ThreadPoolExecutor(1)
        self._pending: tuple[int, Future[None]] | None = None

    def begin(self, number: int, write: Callable[[], None]) -> None:
        """Have the checkpoint of a round written, once the one before it is. Raises as `finish`."""
        self.finish()
        self._pending = number, self._thread.submit(write)
        if not self.last:
            self.finish()

    def finish(self) -> None:
        """Wait until all is on the disk.

        Raises:
            OSError: it cannot be written.
        """
        if self._pending is None:
            return
        number, writing = self._pending
        wait([writing])
        self._pending = None
        writing.result()
        self.last = number
