"""Whether the coordinator's process runs. Connections do not say so: the kernel keeps those of a
stopped process, and the job's store may be hosted by an agent that lives on."""

import itertools
import threading
import time

import torch.distributed as dist

_KEY = "beats"
_PAUSE_S = 1.0


def beat(store: dist.Store) -> None:
    """Show on the store that this process runs, for as long as it does."""
    # another thread may wait in `store`
    own = store.clone()  # type: ignore[attr-defined]
    threading.Thread(target=_beat, args=(own,), daemon=True).start()


def _beat(store: dist.Store) -> None:
    for number in itertools.count(1):
        try:
            # set, not added to: whatever others have written there is gone
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
    """What another process sees of it."""

    def __init__(self, limit: float) -> None:
        """`limit`: seconds without a beat after which the coordinator is given up."""
        self.limit = limit
        self._beat, self._looked, self._silence = b"", time.monotonic(), 0.0

    def has_stopped(self, store: dist.Store) -> bool:
        """Whether there was none for that long.

        Raises:
            DistError: the store is gone.
        """
        beat, now = store.get(_KEY) if store.check([_KEY]) else b"", time.monotonic()
        # of a longer pause this process itself was stopped, as by Ctrl-Z, perhaps with that one
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
