"""Where an experiment's omniscient attackers find the honest updates: the store that all ranks of a job share."""

import torch.distributed as dist


class StoreTap:
    """A few methods of a dict, on a store."""

    def __init__(self, store: dist.Store) -> None:
        self._store = dist.PrefixStore("tap", store)

    def __setitem__(self, key: str, value: bytes) -> None:
        self._store.set(key, value)

    def get(self, key: str) -> bytes | None:
        """What was written under a key; None if nothing was."""
        return self._store.get(key) if self._store.check([key]) else None
