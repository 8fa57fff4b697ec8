"""Which name a process takes part under, at one admission."""

from collections.abc import Mapping

from tdml.members.cards import Card
from tdml.members.roster import COORDINATOR_NAME, Roster
from tdml.protocol.names import node_name
from tdml.settings.schema import Topology


class Names:
    """The names that keys have, and those that are still to be had. A name costs as little among
    100,000 strangers as among two.

    Args:
        roster: gets the keys of those who are let in.
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
        self._spares = 0  # whose names are taken, at least
        # who never had a name: more than all slots and spares nobody has a use for
        self._strangers = topology.most * topology.stages + topology.spares

    def has_room(self, public: str) -> bool:
        """Whether somebody with this key can be let in, or has to come again."""
        return self._strangers > 0 or self.knows(public)

    def knows(self, public: str) -> bool:
        """Whether a key has a name already."""
        return public in self._by_key

    def of(self, card: Card, signed: bool, taken: Mapping[str, Card]) -> str | None:
        """The name of who hands in a card: that of its key, or of its rank, or the next of a
        spare; None if the roster has none for it.

        Args:
            taken: the names of those who were let in before it.
        """
        known = self._by_key.get(card.public) if signed else None
        if known is not None and known not in taken:
            return known
        if card.rank is not None:
            by_rank = node_name(card.rank, self._topology)
            # a card may have any number, and a given roster knows all names
            if self._roster.given == (by_rank in self._settled):
                return by_rank
        return None if self._roster.given else self._next_spare()

    def take(self, name: str, public: str) -> None:
        """Somebody with this key is let in under that name."""
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
        """Whether the job was started with that spare, which may be still to come."""
        return self._spares < self._topology.spares
