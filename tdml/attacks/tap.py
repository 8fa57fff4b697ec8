"""Where an experiment's omniscient attackers find the honest updates: the store that all ranks of a
job share."""

import torch.distributed as dist

# bytes: torch's store ends the connection of who hands it more than 8 MiB at a time
_PIECE = 4 << 20


class StoreTap:
    """A few methods of a dict, on a store. A key has one writer, and what it wrote before stays
    until it has written twice: somebody may be reading it."""

    def __init__(self, store: dist.Store) -> None:
        self._store = dist.PrefixStore("tap", store)
        self._turns: dict[str, int] = {}

    def __setitem__(self, key: str, value: bytes) -> None:
        turn = self._turns[key] = 1 - self._turns.get(key, 1)
        pieces = [value[start : start + _PIECE] for start in range(0, len(value), _PIECE)]

        for number, piece in enumerate(pieces):
            # Bytes are taken too, whatever torch's stubs say.
            self._store.set(f"{key}/{turn}/{number}", piece)  # type: ignore[arg-type]
        self._store.set(key, f"{turn} {len(pieces)}")

    def get(self, key: str) -> bytes | None:
        """What was written under a key; None if nothing was."""
        if not self._store.check([key]):
            return None
        turn, pieces = self._store.get(key).decode().split()
        return b"".join(self._store.get(f"{key}/{turn}/{number}") for number in range(int(pieces)))
