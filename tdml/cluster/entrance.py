"""The coordinator at the entrance: which ranks may take part, and how their stages are
connected."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tdml.cluster.channel import Session
from tdml.cluster.devices import choose_backend
from tdml.cluster.lobby import Card, Decision
from tdml.cluster.roster import COORDINATOR_NAME, Roster, admit
from tdml.cluster.topology import COORDINATOR, node_names
from tdml.config import Topology
from tdml.config_file import differing
from tdml.data.contents import difference
from tdml.errors import SettingError

_NAMED = 3  # settings that differ
_LONGEST = 200  # characters: a rank may call them whatever it likes


@dataclass(frozen=True)
class Admission:
    """`members` are the ranks that take part, the coordinator's first; `refused` has the others,
    and why."""

    roster: Roster
    backend: str
    members: tuple[int, ...]
    refused: dict[int, str]

    def decision(self, at: Session) -> Decision:
        """What the ranks are told."""
        return Decision(None, at, self.members, self.refused)


def admit_ranks(
    cards: Sequence[Card], session: str, topology: Topology, given: Mapping[str, str] | None,
    banned: Collection[str],
) -> Admission:  # fmt: skip
    """Decide by the ranks' cards.

    Args:
        cards: by rank.
        given: the user's roster, None to trust at first contact.
        banned: keys that may not take part.

    Raises:
        SettingError: a rank that may take part was started with other settings, or holds other
            data, or the coordinator or no node may.
    """
    names = dict(enumerate(node_names(topology), start=COORDINATOR + 1))
    presented = {COORDINATOR_NAME: cards[COORDINATOR].public}
    presented |= {
        name: cards[rank].public
        for rank, name in names.items()
        if cards[rank].is_signed(session, rank)
    }
    faults = {
        name: "it has not shown that it holds its key"
        for name in names.values()
        if name not in presented
    }
    roster = admit(presented, faults, given, banned)
    if COORDINATOR_NAME in roster.refused:
        raise SettingError(
            f"rank 0, the coordinator, is refused: {roster.refused[COORDINATOR_NAME]}"
        )
    refused = {rank: roster.refused[name] for rank, name in names.items() if name in roster.refused}
    members = tuple(rank for rank in range(len(cards)) if rank not in refused)
    if members == (COORDINATOR,):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in roster.refused.items())
        raise SettingError(
            f"every node is refused ({reasons}): see identity.roster and identity.ban_list"
        )
    for rank in members:
        _check_same_job(rank, cards[rank], cards[COORDINATOR])
    backend = choose_backend([cards[rank].gpu for rank in members if rank != COORDINATOR])
    return Admission(roster, backend, members, refused)


def _check_same_job(rank: int, card: Card, coordinator: Card) -> None:
    """Raises:
    SettingError: a rank has other settings than the coordinator, or other data.
    """
    if names := differing(card.fingerprint, coordinator.fingerprint):
        some = ", ".join(names[:_NAMED])[:_LONGEST]
        raise SettingError(
            f"rank {rank} was started with other settings than rank 0 ({some}): "
            "give all of them the same, and instead of what each works out for itself, such as "
            "${now:…} and ${oc.env:…}, its value"
        )
    if card.data is None or coordinator.data is None:
        return
    if found := difference(card.data, coordinator.data):
        raise SettingError(
            f"data: the {found} of rank {rank} and rank 0 differ: every rank must read the same "
            "samples in the same order (the same files, sorted by name; what is drawn at random "
            "from a seeded generator)"
        )
