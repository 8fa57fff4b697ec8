"""Admission to a session: which processes may take part, under which names, and how their
stages are connected."""

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tdml.data.contents import difference
from tdml.errors import SettingError, one_line
from tdml.members.cards import Card, Decision, Member, Refusal
from tdml.members.names import Names
from tdml.members.owners import Owners
from tdml.members.roster import COORDINATOR_NAME, Roster
from tdml.protocol.names import node_names
from tdml.settings.file import differing
from tdml.settings.schema import Topology
from tdml.wire.channel import Session

BANNED = "its key is banned: the ledger of the run that did it has the reason (docs/verdicts.md)"
_NAMED = 3  # settings, or modules, that differ
_KEY = 16  # hex digits of a key that are shown
_LONGEST = 200  # characters: a rank may call them whatever it likes
_LONGEST_REASON = 1_000
_MOST_REFUSED = 1_000  # that are told why: the store takes 8 MiB at a time


@dataclass(frozen=True)
class Admitted:
    """Who takes part in a session: names and cards, the coordinator's first."""

    members: dict[str, Card]
    refused: tuple[Refusal, ...] = ()
    # why, by name; of those that have none, by their keys
    faults: dict[str, str] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()  # the members that were let in and have not come

    @property
    def present(self) -> dict[str, tuple[int, Card]]:
        """The nodes that take part, with their ranks in the session."""
        return {
            name: (rank, card)
            for rank, (name, card) in enumerate(self.members.items())
            if name != COORDINATOR_NAME and name not in self.absent
        }

    @property
    def backend(self) -> str:
        """The backend that connects the stages of a replica: "nccl" or "gloo"."""
        own_gpus = [card.gpu for name, card in self.members.items() if name != COORDINATOR_NAME]
        # NCCL refuses two ranks on one GPU, so it takes a GPU of its own for every rank. Ranks that
        # agents of their own have started on one machine may all have chosen the same.
        return "nccl" if all(own_gpus) and len(set(own_gpus)) == len(own_gpus) else "gloo"

    def decision(self, at: Session) -> Decision:
        """The decision as everybody is told it."""
        cards = self.members.items()
        members = tuple(Member(name, card.visit, card.public) for name, card in cards)
        return Decision(None, at, members, self.refused)


class Admission:
    """Lets processes in by their cards.

    Args:
        own: the coordinator's card: what all code, settings and data are held against.
        roster: of the run so far. Those who are let in are added to it.
        banned: keys that may not take part.
        former: keys by name of an earlier part of the run. Whoever shows one of them has its name,
            unless another took that when the run was started again.
        owners: of the data, where it stays with them.
        room: of how many members a session has room for those that come later, too.
    """

    def __init__(
        self,
        own: Card,
        topology: Topology,
        roster: Roster,
        banned: Collection[str],
        former: Mapping[str, str],
        owners: Owners | None = None,
        room: int = sys.maxsize,
    ) -> None:
        self.own, self._topology, self.roster, self.banned = own, topology, roster, banned
        self._former, self._owners, self._room = former, owners, room
        self._started = dict.fromkeys(node_names(topology))  # in the order of their ranks

    def awaited(self, ranks: int) -> set[str]:
        """The keys of the nodes among these first ranks, where they are known: others could say
        that they are these, and be here before them."""
        keys = self.roster.keys if self.roster.given else self._former
        started = list(self._started)[: ranks - 1]
        return {keys[name] for name in started if name in keys} - {*self.banned}

    def admit(
        self, cards: Collection[Card], session: str, banned: Collection[str], first: bool
    ) -> Admitted:
        """Decide.

        Args:
            banned: keys that were banned since.
            first: the job starts.

        Raises:
            SettingError: a rank that was started together with the coordinator was given other
                settings, or holds other data; or nobody may take part.
        """
        names = Names(self.roster, self._former, self._topology, first)
        members, taken = {COORDINATOR_NAME: self.own}, {self.own.public}
        barred = {*banned, *self.banned}
        refused: list[Refusal] = []
        faults: dict[str, str] = {}
        # known keys come before others that claim the same rank
        for card in sorted(cards, key=lambda card: (not names.knows(card.public), _in_order(card))):
            signed = card.is_signed(session)
            name = names.name_for(card, signed, members)
            reason = self._fault(name, card, signed, taken, barred) or self._misfit(
                name, card, ends_the_job=first and card.rank is not None
            )
            if reason is None:
                assert name is not None
                has_room = names.has_room(card.public) and len(members) < self._room
                # whoever says that it has another's rank fills no place of those after it
                if name in self._started or has_room:
                    names.take(name, card.public)
                    members[name] = card
                    taken.add(card.public)
                    self.roster.refused.pop(name, None)
                continue
            if len(refused) == _MOST_REFUSED:
                continue
            reason = one_line(reason)[:_LONGEST_REASON]
            refused.append(Refusal(card.visit, card.public if signed else "", reason))
            if name is None and signed:
                faults[f"key {card.public[:_KEY]}…"] = reason
            elif name is not None and name not in members:
                faults[name] = reason
                if first:
                    self.roster.refused[name] = reason
        launched = all(card.rank is not None for card in cards)  # others may still join
        if first and len(members) == 1 and refused and launched:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in faults.items())
            raise SettingError(
                f"every node is refused ({reasons}): see identity.roster and identity.ban_list"
            )
        return Admitted(members, tuple(refused), faults)

    def _misfit(self, name: str | None, card: Card, ends_the_job: bool) -> str | None:
        """What of its code, settings or data keeps a process out, in one line.

        Raises:
            SettingError: the same, if it ends the job.
        """
        other = not_of_the_job(_said(name, card), card, self.own)
        if other is None and self._owners and name:
            other = self._owners.fault(name, card)
        if other and ends_the_job:
            raise SettingError(other)
        return other

    def _fault(
        self,
        name: str | None,
        card: Card,
        signed: bool,
        taken: Collection[str],
        banned: Collection[str],
    ) -> str | None:
        """Why a process may not take part, in one line; None if it may."""
        if card.error:
            return card.error[:_LONGEST]
        if not signed:
            return "it has not shown that it holds its key"
        if name is None or self.roster.keys.get(name, card.public) != card.public:
            return f"its key {card.public[:_KEY]}… is not the one that identity.roster has for it"
        if card.public in banned:
            return BANNED
        if card.public in taken:
            return "its key is that of another node"
        return None


def open_roster(
    public: str, given: Mapping[str, str] | None, banned: Collection[str], known: Mapping[str, str]
) -> Roster:
    """The roster as a run starts, before anybody is let in.

    Args:
        public: the coordinator's key.
        known: keys by name that nodes which joined an earlier part of this run had.

    Raises:
        SettingError: the coordinator may not take part.
    """
    reason = None
    if given is not None and given.get(COORDINATOR_NAME, public) != public:
        reason = "its key is not the one that identity.roster has for it"
    elif public in banned:
        reason = BANNED
    if reason:
        raise SettingError(f"rank 0, the coordinator, is refused: {reason}")
    return Roster({COORDINATOR_NAME: public, **(given or known)}, given is not None, {})


def not_of_the_job(who: str, card: Card, coordinator: Card) -> str | None:
    """What code, settings or data a process has that are not those of the coordinator, in one
    line."""
    code = differing(card.code, coordinator.code)
    settings = differing(card.fingerprint, coordinator.fingerprint)
    # other settings name other modules, and another version of TDML has other settings
    if settings and "tdml" not in code:
        return (
            f"{who} was started with other settings than rank 0 ({_some(settings)}): "
            "give all of them the same, and instead of what each works out for itself, such as "
            "${now:…} and ${oc.env:…}, its value"
        )
    if code:
        return (
            f"{who} has other code than rank 0 ({_some(code)}): have the same on every machine, "
            "for what other code does would be found false"
        )
    if card.data is None or coordinator.data is None:
        return None
    if part := difference(card.data, coordinator.data):
        return (
            f"data: the {part} of {who} and rank 0 differ: every rank must read the same "
            "samples in the same order (the same files, sorted by name; what is drawn at random "
            "from a seeded generator, and kept in no cache)"
        )
    return None


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED])[:_LONGEST] + more


def _said(name: str | None, card: Card) -> str:
    return f"{name}" if card.rank is None else f"rank {card.rank}"


def _in_order(card: Card) -> tuple[bool, int]:
    """Launched ranks first, by rank; then those that come later. Of several who say that they are
    the same, who came first: a key can be chosen so that it is the smallest."""
    return (card.rank is None, card.rank or 0)
