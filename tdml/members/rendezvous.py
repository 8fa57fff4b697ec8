"""What the ranks say to one another on the job's store, before a session and between two.

The coordinator calls, everybody hands in a card, the coordinator tells all of them what it decided:
see `tdml.members.sessions`. A mistake on any machine thus ends every rank with the same line,
before any training, and no rank waits for one that has already failed. Whoever comes while nobody
is called rings.

Anybody who reaches the store can write to it. So calls, cards, decisions and the end are signed,
and what belongs to a call lies under its session, which nobody can foresee. Once a coordinator was
met, what it has not signed is as if it were not there.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Collection

import msgspec
import torch.distributed as dist

from tdml.errors import SettingError, complain
from tdml.members import exit_barrier
from tdml.members.cards import Call, Card, Decision, EndOfRun, Over, read, read_card, read_end
from tdml.members.heartbeat import Heartbeat, beat
from tdml.members.store import address, connect
from tdml.protocol.identity import Identity
from tdml.protocol.names import COORDINATOR
from tdml.wire.channel import Session
from tdml.wire.silence import give_up_silent, reach

_CONNECT_S = 600.0
_FAREWELL_S = 15.0
_LAST_WORDS_S = 1.0
_GOODBYE_S = 3.0  # a name server that is silent keeps torch from connecting for 2
_POLL_S = 0.05
_MOST_CARDS = 100_000  # of one call, that are looked at


class Rendezvous:
    """One process at the job's store. `store` is the store itself, for groups and RPC.

    Args:
        rank: that the launcher has given it; None where it comes later.
        world_size: ranks that were started together.
        timeout: seconds to wait for the store.

    Raises:
        DistError: there is none within that time.
    """

    def __init__(self, rank: int | None, world_size: int, timeout: float = _CONNECT_S) -> None:
        self.rank, self.world_size = rank, world_size
        self.visit = secrets.token_hex(16)
        self.store = connect(is_coordinator=rank == COORDINATOR, timeout=timeout)
        self._session = ""  # that was called to last
        self._caller: Identity | None = None  # of this process, if it has called to that
        self._answered: set[str] = set()  # sessions: an old call may come again
        self._rings = 0  # that were heard
        self._has_warned = False  # of a call that is not the coordinator's
        self._undecided = False  # whether this coordinator has called, and not decided yet
        self._heartbeat: Heartbeat | None = None
        # of the coordinator that was met: key, job and visit
        self.heeds: tuple[str, str, str] | None = None
        if rank == COORDINATOR:
            beat(self.store)

    def bound_silence(self, seconds: float, patience: float) -> None:
        """From now on the store is gone once it has not answered for `seconds`, and the run over
        once the coordinator has shown no sign of life for `patience` more."""
        give_up_silent(address()[1], seconds)
        self._heartbeat = Heartbeat(seconds + patience)

    def return_to(self, timeout: float, silence: float) -> None:
        """Wait for the store that could not be reached, or one in its place; see `bound_silence`.

        Raises:
            DistError: there is none within `timeout` seconds.
        """
        left = reach(*address(), timeout)
        self.store = connect(is_coordinator=False, timeout=max(left, _LAST_WORDS_S))
        self.bound_silence(silence, timeout)

    # The coordinator's side

    def begin(self, run: str) -> None:
        """Let a later self of this process know that the run in that folder has begun."""
        self.store.set(f"begun/{run}", "")

    def begun(self, run: str) -> bool:
        """Whether this process was started again, and a former self of it has begun the run."""
        return _attempt() > 0 and self.store.check([f"begun/{run}"])

    def call(self, session: str, identity: Identity | None = None) -> None:
        """Call everybody, those who ring and those who are in a session."""
        self._rings = self._count("rings")
        self.store.delete_key("over")
        self._session, self._caller, self._undecided = session, identity, True
        self._write("call", Call(session).signed(identity) if identity else Call(session))

    @property
    def rings(self) -> int:
        """How many have rung since the last call."""
        return self._count("rings") - self._rings

    def cards(self, ended: Callable[[Collection[Card]], bool]) -> list[Card]:
        """The cards that are handed in, until `ended`, which is asked several times a second and
        sees those that have come. They are taken out of the store, which lasts as long as the
        job."""
        cards: dict[int, Card] = {}
        while not ended(cards.values()):
            for number in range(1, min(self._count(self._key("cards")), _MOST_CARDS) + 1):
                key = f"{self._key('card')}/{number}"
                if number not in cards and self.store.check([key]):
                    cards[number] = read_card(self.store.get(key))
                    self.store.delete_key(key)
            time.sleep(_POLL_S)
        return list(cards.values())

    def has_left(self, visit: str) -> bool:
        """Whether a process has said goodbye."""
        return self.store.check([f"goodbye/{visit}"])

    def announce(self, decision: Decision) -> None:
        """Tell everybody what was decided."""
        self._write(self._key("decision"), decision)
        self._undecided = False

    def end_with(self, error: str) -> None:
        """Tell all ranks what is wrong, and stay until they have heard it: this process may host
        the store."""
        if not self._undecided:
            self.call(secrets.token_hex(16))
        decision = Decision(error, Session("", self._session), attempt=_attempt())
        self.announce(decision.signed(self._caller) if self._caller else decision)
        deadline = time.monotonic() + _FAREWELL_S
        while self._count(self._key("heard")) < self.world_size - 1 and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def end(
        self,
        status: int,
        at: Session,
        by: Identity,
        lost: Collection[int],
        refused: Collection[str],
    ) -> None:
        """Say that the run is over. Those that were refused at its start hear it here, by their
        visits; nobody waits for the agents of lost ranks."""
        self._write("over", EndOfRun(status, at.job, _attempt(), self.visit).signed(by))
        if status == 0:  # else every agent ends with its ranks
            known = [f"agent/{rank}" for rank in lost if self.store.check([f"agent/{rank}"])]
            agents = {self.store.get(key) for key in known} - {_agent().encode()}
            exit_barrier.check_in(self.store, len(agents))
        if lost:
            time.sleep(_LAST_WORDS_S)  # some of them may live, and look here now and then
        deadline = time.monotonic() + _FAREWELL_S
        while time.monotonic() < deadline:
            if all(self.store.check([f"left/{visit}"]) for visit in refused):
                break
            time.sleep(_POLL_S)

    # Everybody else's side

    def await_call(self, coordinator: str | None) -> str:
        """Ring, and wait for the coordinator's next call: the session that it calls to.

        Args:
            coordinator: the key that the call must be signed with; None to listen to anybody's.

        Raises:
            Over: the run has ended meanwhile.
        """
        if not self.called(coordinator):
            self._count("rings", 1)
        while (call := self._next_call(coordinator)) is None:
            self._pause()
        self._session = call.session
        self._answered.add(call.session)
        return call.session

    def called(self, coordinator: str | None) -> bool:
        """Whether the coordinator calls to another session than those that were answered."""
        return self._next_call(coordinator) is not None

    def _next_call(self, coordinator: str | None) -> Call | None:
        call = read(self.store.get("call"), Call) if self.store.check(["call"]) else None
        if call is None or call.session in self._answered:
            return None
        if coordinator is None or (call.public == coordinator and call.is_signed()):
            return call
        self._say_once(call.public, coordinator)
        return None

    def _say_once(self, public: str, coordinator: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            by = repr(public) if public else "nobody, as where a start has failed,"
            complain(
                f"tdml: a call to a session that is signed by {by} and not by the coordinator, "
                f"whose key is {coordinator}, is not answered: ask whoever runs the job"
            )

    def enter(self, card: Card) -> None:
        """Hand in this process's card, which has its rank and its visit."""
        if self.rank is not None:
            self.store.set(f"agent/{self.rank}", _agent())
        number = self._count(self._key("cards"), 1)
        self._write(f"{self._key('card')}/{number}", card)

    def await_decision(self, coordinator: str | None) -> Decision | None:
        """What was decided on the call that was answered; None if there is another call meanwhile.

        Args:
            coordinator: see `await_call`.

        Raises:
            SettingError: what is there is not signed by a coordinator, and none is known.
            Over: the run has ended meanwhile.
        """
        while (decision := self._decision(coordinator)) is None:
            if self.called(coordinator):
                return None
            self._pause()
        if decision.error and decision.attempt < _attempt():
            return None  # a former self of the job's
        self._count(self._key("heard"), 1)
        return decision

    def _decision(self, coordinator: str | None) -> Decision | None:
        if not self.store.check([self._key("decision")]):
            return None
        decision = read(self.store.get(self._key("decision")), Decision)
        if decision and decision.at.session == self._session:
            signed = decision.is_signed() and coordinator in (None, decision.public)
            if signed or (coordinator is None and decision.error):  # said before it had a key
                return decision
        if coordinator is None:
            raise SettingError(
                "the coordinator's decision is not signed: somebody else writes to the job's store"
            )
        return None

    def await_end(self) -> int:
        """The exit status of a run in which this rank takes no part: its agent would be deaf to
        signals without it."""
        while (status := self.status()) is None:
            time.sleep(_POLL_S)
        self.store.set(f"left/{self.visit}", "")
        return status

    def say_goodbye(self) -> None:
        """Tell the coordinator that this process leaves. Called on any thread."""
        with contextlib.suppress(dist.DistError):  # it is gone itself
            # another thread may wait in the store
            own, key = connect(is_coordinator=False, timeout=_GOODBYE_S), f"goodbye/{self.visit}"
            own.set(key, "")
            own.check([key])  # the answer comes once it is there

    def status(self) -> int | None:
        """The exit status of the run; None while it goes on. What a former self of the job has
        left in the store, or anybody but the coordinator that was met, says nothing."""
        end = read_end(self.store.get("over")) if self.store.check(["over"]) else None
        if end is None or self.heeds not in (None, (end.public, end.job, end.visit)):
            return self._given_up()
        return end.status if end.attempt >= _attempt() else None

    def _pause(self) -> None:
        if (status := self.status()) is not None:
            raise Over(status)
        time.sleep(_POLL_S)

    def _given_up(self) -> int | None:
        """The exit status where the coordinator's process is stopped for good."""
        if self._heartbeat is None or not self._heartbeat.has_stopped(self.store):
            return None
        who = "a node" if self.rank is None else f"rank {self.rank}"
        complain(f"{who}: {self._heartbeat.in_words()}")
        return 1

    # Keys

    def _key(self, name: str) -> str:
        return f"{name}/{self._session}"

    def _count(self, name: str, more: int = 0) -> int:
        return self.store.add(name, more)

    def _write(self, key: str, value: Card | Call | Decision | EndOfRun) -> None:
        self.store.set(key, msgspec.json.encode(value).decode())


def _attempt() -> int:
    """How often torchrun has started this process again. Its store has the keys of former ones."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def _agent() -> str:
    return os.environ.get("GROUP_RANK", "0")
