"""Whether the coordinator's process runs. An open connection does not show that: the kernel keeps
those of a stopped process, and the job's store may be in an agent that lives on."""

import itertools
import threading
import time

import torch.distributed as dist

_KEY = "beats"
_PAUSE_S = 1.0


def beat(store: dist.Store) -> None:
    """Write to the store, now and then, that this process runs."""
    # another thread may wait in `store`
    own = store.clone()  # type: ignore[attr-defined]
    threading.Thread(target=_beat, args=(own,), daemon=True).start()


def _beat(store: dist.Store) -> None:
    for number in itertools.count(1):
        try:
            # set, and not added to, so that it does not matter what others have written there
            store.set(_KEY, str(number))
        except dist.DistError:
            store = _again(store)
        time.sleep(_PAUSE_S)


def _again(store: dist.Store) -> dist.Store:
    """Another connection; the same one while there is none."""
    try:
        return store.clone()  # type: ignore[attr-defined]
    except dist.DistError:
        return store


class Heartbeat:
    """The coordinator's heartbeat as another process sees it."""

    def __init__(self, limit: float) -> None:
        """`limit`: seconds without a beat after which the coordinator is given up."""
        self.limit = limit
        self._beat, self._looked, self._silence = b"", time.monotonic(), 0.0

    def has_stopped(self, store: dist.Store) -> bool:
        """Whether no beat was seen for longer than the limit.

        Raises:
            DistError: the store is gone.
        """
        beat, now = store.get(_KEY) if store.check([_KEY]) else b"", time.monotonic()
        # in a longer pause this process was stopped itself, and the coordinator perhaps with it
        self._silence += min(now - self._looked, _PAUSE_S)
        self._looked = now
        if beat != self._beat:
            self._beat, self._silence = beat, 0.0
        return self._silence > self.limit

    def in_words(self) -> str:
        """Why the run is over for this process."""
        return (
            f"the coordinator's process has shown no sign of life for {self.limit:g} s "
            "(sync.timeout + sync.patience): see its machine for the reason"
        )
