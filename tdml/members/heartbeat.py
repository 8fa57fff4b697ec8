"""Whether the coordinator's process runs. Connections do not say so: the kernel keeps those of a
stopped process, and the job's store may be hosted by an agent that lives on."""

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
    try:
        while True:
            store.add(_KEY, 1)
            time.sleep(_PAUSE_S)
    except dist.DistError:
        return  # the store is gone, and this process ends


class Heartbeat:
    """What another process sees of it."""

    def __init__(self, limit: float) -> None:
        """`limit`: seconds without a beat after which the coordinator is given up."""
        self.limit = limit
        self._beats, self._heard = 0, time.monotonic()

    def has_stopped(self, store: dist.Store) -> bool:
        """Whether there was none for that long.

        Raises:
            DistError: the store is gone.
        """
        beats = store.add(_KEY, 0)
        if beats != self._beats:
            self._beats, self._heard = beats, time.monotonic()
        return time.monotonic() - self._heard > self.limit

    def in_words(self) -> str:
        """Why the run is over for this process."""
        return (
            f"the coordinator's process has shown no sign of life for {self.limit:g} s "
            "(sync.timeout + sync.patience): see its machine for the reason"
        )
