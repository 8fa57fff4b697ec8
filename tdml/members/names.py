"""Under which name a process takes part in a session."""

from collections.abc import Mapping

from tdml.members.cards import Card
from tdml.members.roster import COORDINATOR_NAME, Roster
from tdml.protocol.names import node_name
from tdml.settings.schema import Topology


class Names:
    """The names that keys have, and the names that are free, at one admission. To find a name takes
    as little time among 100,000 strangers as among two.

    Args:
        roster: the keys of those who are let in are added to it.
        former: keys by name of an earlier part of the run.
        first: the job starts, or goes on: a rank may have come with another key than before.
    """

    def __init__(
        self, roster: Roster, former: Mapping[str, str], topology: Topology, first: bool = False
    ) -> None:
        self._roster, self._topology = roster, topology
        self._keys = {**({} if roster.given else former), **roster.keys}
        self._settled = roster.keys if first else self._keys
        named = self._keys.items()
        self._by_key = {key: name for name, key in named if name != COORDINATOR_NAME}
        self._spares = 0  # the names of at least so many spares are taken
        # how many more may come that never had a name: nobody needs more than slots and spares
        self._strangers = topology.most * topology.stages + topology.spares

    def has_room(self, public: str) -> bool:
        """Whether somebody with this key can be let in now, or has to come again."""
        return self._strangers > 0 or self.knows(public)

    def knows(self, public: str) -> bool:
        """Whether a key has a name already."""
        return public in self._by_key

    def name_for(self, card: Card, signed: bool, taken: Mapping[str, Card]) -> str | None:
        """The name for whoever hands in a card: that of its key, or of its rank, or the next free
        spare's; None if a given roster has none for it.

        Args:
            signed: whether the card is: else its key says nothing.
            taken: the names of those who were let in before.
        """
        known = self._by_key.get(card.public) if signed else None
        if known is not None and known not in taken:
            return known
        if card.rank is not None:
            by_rank = node_name(card.rank, self._topology)
            # any number may stand on a card; a given roster has all names that there are
            if self._roster.given == (by_rank in self._settled):
                return by_rank
        return None if self._roster.given else self._next_spare()

    def take(self, name: str, public: str) -> None:
        """Note that somebody with this key is let in under that name."""
        self._strangers -= not self.knows(public)
        former = self._keys.get(name)
        if former is not None and self._by_key.get(former) == name:
            del self._by_key[former]
        self._keys[name] = self._roster.keys[name] = public
        self._by_key[public] = name

    def _next_spare(self) -> str:
        while (name := f"spare{self._spares}") in self._roster.keys or self._is_set():
            self._spares += 1
        return name

    def _is_set(self) -> bool:
        """Whether the next spare belongs to the job's start, and may still come."""
        return self._spares < self._topology.spares
