"""Sessions: a job's members change by forming the next one.

A session is one RPC world. Between rounds a worker keeps nothing that hangs on it, so whenever
somebody joins, dies or comes back, all go back to the store and form another:

1. the coordinator calls; whoever is in a session leaves it;
2. everybody hands in a card, signed for this call;
3. the coordinator decides who takes part, under which name, and signs that;
4. the members form the RPC, which goes on without those that do not come: they are left out of the
   next sessions, and of more of them each time.

The start of a job is the first session. A newcomer rings, and is called at the next border between
rounds. So does a node that was given up, or whose machine has started again: its key is known, and
it is let in under its old name. A coordinator that comes back calls as the one before it did.
"""

import secrets
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from tdml.errors import SettingError
from tdml.members.absences import Absences
from tdml.members.admission import Admission, Admitted
from tdml.members.cards import Card
from tdml.members.rendezvous import Rendezvous
from tdml.protocol.identity import Identity
from tdml.protocol.names import COORDINATOR
from tdml.wire.channel import Session
from tdml.wire.rpc_world import form_rpc, leave_rpc, meet

_START_S = 600.0  # that the ranks of a job may take to come
_SETTLED_S = 15.0  # after the last that came, whoever may have outlived the coordinator has come
_ANSWER_S = 10.0  # that a node which was there a moment ago may take to answer a call
_RINGER_S = 3.0  # that those who rang may take longer than all others
_START_MEET_S = 30.0  # that members may take to come to the first session
_MEET_S = 10.0  # and to a later one: all have just said that they are there


@dataclass
class Sessions:
    """The coordinator's side."""

    rendezvous: Rendezvous
    identity: Identity
    job: str
    admission: Admission
    timeout: float  # seconds for an answer by RPC
    ranks: int  # that the job is set to have, the coordinator's among them
    least: int  # nodes that can do something

    def __post_init__(self) -> None:
        self.at = Session(self.job, secrets.token_hex(16))
        self._absences = Absences()

    def open(self) -> None:
        """Call everybody to the first session."""
        self.rendezvous.call(self.at.session, self.identity)

    def first(self, waiting: Callable[[Collection[int]], None]) -> Admitted:
        """Wait for the ranks that were started together with this one, and where a run is resumed
        for those of its nodes that still live. `waiting` hears which have not come yet.

        Raises:
            SettingError: one of them cannot take part, or has not come.
        """
        start = latest = time.monotonic()
        signed = _SignedCards(self.at.session)
        awaited, started = set(range(1, self.ranks)), set(range(1, self.rendezvous.world_size))
        known = self.admission.awaited(self.ranks)
        still = len(awaited) + len(known) + 1

        def ended(cards: Collection[Card]) -> bool:
            nonlocal still, latest
            there = signed.among(cards)
            missing = awaited - {card.rank for card in there}
            away = known - {card.public for card in there}
            if len(missing) + len(away) < still:
                still, latest = len(missing) + len(away), time.monotonic()
            waiting(missing)
            settled = time.monotonic() - latest >= _SETTLED_S
            if not missing & started and len(there) >= self.least and awaited != started:
                missing = set() if settled else missing
            if missing and time.monotonic() - start > _START_S:
                raise SettingError(
                    f"--nnodes, --master-addr: ranks {sorted(missing)} did not come within "
                    f"{_START_S:.0f} s"
                )
            return (not missing and (not away or settled)) or any(map(_ends_the_job, cards))

        cards = self.rendezvous.cards(ended)
        for card in filter(_ends_the_job, cards):
            raise SettingError(card.error)
        return self.admission.admit(cards, self.at.session, (), first=True)

    def begin(self, admitted: Admitted, seconds: float = _START_MEET_S) -> Admitted:
        """Tell everybody who takes part, and form the session with those that come. Returns the
        admitted, with those that have not.

        Raises:
            NotFormed: this machine cannot be reached by RPC.
        """
        self.rendezvous.announce(admitted.decision(self.at).signed(self.identity))
        addresses = form_rpc(self.rendezvous.store, self.at.session, COORDINATOR, self.timeout)
        came = meet(addresses, range(len(admitted.members)), seconds)
        absent = {name for name, (rank, _) in admitted.present.items() if rank not in came}
        return replace(admitted, absent=frozenset(absent))

    def note(self, admitted: Admitted, silent: Collection[str]) -> None:
        """Note who takes part in the session, and who was let in and does not: the `silent`."""
        present = admitted.present.items()
        self._absences.note(
            [card.public for name, (_, card) in present if name not in silent],
            [admitted.members[name].public for name in silent],
        )

    def is_due(self) -> bool:
        """Whether to form a new session between these rounds: somebody rings, or may come again who
        was left out for not coming to an earlier session."""
        return self._absences.pass_border() or self.rendezvous.rings > 0

    def renew(self, there: Mapping[str, str], banned: Collection[str]) -> Admitted:
        """Form the next session, at a border between rounds.

        Args:
            there: keys by name of those who are expected to answer.
            banned: keys that may not take part.

        Raises:
            NotFormed: this machine cannot be reached by RPC.
        """
        rang = self.rendezvous.rings
        self.at = Session(self.job, secrets.token_hex(16))
        self.rendezvous.call(self.at.session, self.identity)
        leave_rpc()
        awaited = {key for key in there.values() if not self._absences.is_out(key)}
        cards = self._answers(awaited, rang)
        cards = [card for card in cards if not self._absences.is_out(card.public)]
        admitted = self.admission.admit(cards, self.at.session, banned, first=False)
        return self.begin(admitted, _MEET_S)

    def _answers(self, expected: set[str], rang: int) -> list[Card]:
        start, signed = time.monotonic(), _SignedCards(self.at.session)

        def ended(cards: Collection[Card]) -> bool:
            seconds = time.monotonic() - start
            came = {card.public for card in signed.among(cards)}
            others = len(came - expected)
            all_there = expected <= came or seconds > _ANSWER_S
            return all_there and (others >= rang or seconds > _RINGER_S)

        return self.rendezvous.cards(ended)


class _SignedCards:
    """Finds the signed cards of a session. Each signature is checked once."""

    def __init__(self, session: str) -> None:
        self._session, self._seen = session, 0
        self._signed: list[Card] = []

    def among(self, cards: Collection[Card]) -> list[Card]:
        """The signed ones among `cards`, which are those of the last call and new ones."""
        new = [*cards][self._seen :]
        self._seen += len(new)
        self._signed += [card for card in new if card.is_signed(self._session)]
        return self._signed


def _ends_the_job(card: Card) -> bool:
    """Whether a rank that was started with the others says that it cannot take part."""
    return bool(card.error) and card.rank is not None
