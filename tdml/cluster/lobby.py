"""Where the ranks meet before the job: every rank hands in a card, the coordinator tells all of
them what it decided.

It uses the store that torchrun or rank 0 hosts. A mistake on any machine thus ends every rank with
the same line, before any training, and no rank waits for one that has already failed.
"""

import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta

import msgspec
import torch.distributed as dist

from tdml.cluster import exit_barrier
from tdml.cluster.channel import Session
from tdml.cluster.interface import STORE_SOCKET
from tdml.data.contents import Contents
from tdml.errors import SettingError
from tdml.identity import Identity, verify
from tdml.ledger.statement import canonical

_PATIENCE_S = 600.0
_AGES = timedelta(days=365)
_FAREWELL_S = 15.0
_POLL_S = 0.1


@dataclass(frozen=True)
class Card:
    """What a rank says of itself. `public` is its key; the signature shows that it holds the
    private half."""

    fingerprint: str  # of its settings
    gpu: str  # that it has to itself: see `own_gpu`
    data: Contents | None = None  # what its data hold; None where it reads none
    error: str | None = None  # why it cannot take part, in one line
    public: str = ""
    signature: str = ""

    def signed(self, identity: Identity, session: str, rank: int) -> "Card":
        """The card of `identity` for one rank of one session."""
        card = replace(self, public=identity.public)
        return replace(card, signature=identity.sign(card._text(session, rank)))

    def is_signed(self, session: str, rank: int) -> bool:
        """Whether whoever made this card holds its key, and made it for this rank and session."""
        return verify(self.public, self.signature, self._text(session, rank))

    def _text(self, session: str, rank: int) -> bytes:
        data = self.data and asdict(self.data)
        return canonical(
            ["tdml card", session, rank, self.fingerprint, self.gpu, data, self.public]
        )


@dataclass(frozen=True)
class Decision:
    """What the coordinator decided: an error that ends the job, or to go on with these ranks."""

    error: str | None = None
    at: Session = Session("", "")  # noqa: RUF009 - frozen
    members: tuple[int, ...] = ()  # ranks that take part, the coordinator's first
    refused: dict[int, str] = field(default_factory=dict)  # the others, and why
    public: str = ""  # the coordinator's key
    signature: str = ""

    def signed(self, identity: Identity) -> "Decision":
        """The decision of the coordinator with this key."""
        decision = replace(self, public=identity.public)
        return replace(decision, signature=identity.sign(decision._text()))

    def is_signed(self) -> bool:
        """Whether whoever made this decision holds its key."""
        return verify(self.public, self.signature, self._text())

    def _text(self) -> bytes:
        refused = sorted([rank, reason] for rank, reason in self.refused.items())
        return canonical(
            [
                "tdml decision",
                self.at.job,
                self.at.session,
                list(self.members),
                refused,
                self.public,
            ]
        )


class Lobby:
    """The ranks' meeting place on the job's store. `store` is the store itself, for the replicas'
    groups."""

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank, self.world_size = rank, world_size
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        agent_hosts = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        socket = os.environ.get(STORE_SOCKET)
        self.store = dist.TCPStore(
            host, port, is_master=rank == 0 and not agent_hosts, wait_for_workers=False,
            timeout=timedelta(seconds=_PATIENCE_S), multi_tenant=True,
            master_listen_fd=int(socket) if socket else None,
        )  # fmt: skip
        # A restarted job meets the keys of its former self in the same store.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        self._keys = dist.PrefixStore(f"tdml/{attempt}", self.store)

    def enter(self, card: Card) -> None:
        """Hand in this rank's card."""
        self._keys.set(f"agent/{self.rank}", os.environ.get("GROUP_RANK", "0"))
        self._keys.set(f"card/{self.rank}", msgspec.json.encode(card).decode())

    def gather(self, waiting: Callable[[Sequence[int]], None]) -> list[Card]:
        """All cards, by rank; ends at the first with an error. `waiting` hears which ranks have not
        come yet.

        Raises:
            SettingError: ranks are missing after ten minutes.
        """
        cards: dict[int, Card] = {}
        deadline = time.monotonic() + _PATIENCE_S
        while missing := [rank for rank in range(self.world_size) if rank not in cards]:
            waiting(missing)
            if time.monotonic() > deadline:
                raise SettingError(
                    f"--nnodes, --master-addr: ranks {missing} did not come within "
                    f"{_PATIENCE_S:.0f} s"
                )
            for rank in missing:
                if self._keys.check([f"card/{rank}"]):
                    cards[rank] = _read_card(self._keys.get(f"card/{rank}"))
                    if cards[rank].error:
                        return [cards[rank]]
            time.sleep(_POLL_S)
        return [cards[rank] for rank in range(self.world_size)]

    def prepared(self, session: str) -> None:
        """Tell all ranks that the coordinator has found nothing wrong with the settings, the data
        or the model, and which session their cards are for."""
        self._keys.set("prepared", session)

    def await_prepared(self) -> str:
        """Wait until the coordinator is prepared, or has said that it cannot be; the session."""
        self._keys.wait(["prepared"], timedelta(seconds=_PATIENCE_S))
        return self._keys.get("prepared").decode()

    def announce(self, decision: Decision) -> None:
        """Tell all ranks what was decided. With an error, stay until they have heard it: this
        process may host the store."""
        self._keys.set("decision", msgspec.json.encode(decision).decode())
        self.prepared(decision.at.session)
        deadline = time.monotonic() + _FAREWELL_S
        others = [f"heard/{rank}" for rank in range(1, self.world_size)]
        while decision.error and not self._keys.check(others) and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def await_decision(self) -> Decision:
        """Wait for the coordinator's decision.

        Raises:
            SettingError: what is there is not signed by a coordinator.
        """
        self._keys.wait(["decision"], timedelta(seconds=2 * _PATIENCE_S))
        try:
            decision = msgspec.json.decode(self._keys.get("decision"), type=Decision)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise SettingError(f"the coordinator's decision cannot be read: {error}") from error
        self._keys.set(f"heard/{self.rank}", "")
        if not decision.error and not decision.is_signed():
            raise SettingError(
                "the coordinator's decision is not signed: somebody else writes to the job's store"
            )
        return decision

    def end(self, status: int, lost: Iterable[int], refused: Collection[int]) -> None:
        """Say that the run is over, with which exit status. Those that were refused at its start
        hear it here; nobody waits for the agents of lost ranks."""
        self._keys.set("over", str(status))
        if status == 0:  # else every agent ends with its ranks
            agents = {self._keys.get(f"agent/{rank}") for rank in lost} - {
                self._keys.get(f"agent/{self.rank}")
            }
            exit_barrier.check_in(self.store, len(agents))
        deadline = time.monotonic() + _FAREWELL_S
        while (
            not all(self._keys.check([f"left/{rank}"]) for rank in refused)
            and time.monotonic() < deadline
        ):
            time.sleep(_POLL_S)

    def await_end(self) -> int:
        """The exit status of a run in which this rank takes no part: its agent would be deaf to
        signals without it."""
        self._keys.wait(["over"], _AGES)
        status = int(self._keys.get("over"))
        self._keys.set(f"left/{self.rank}", "")
        return status

    def coordinator_lives(self) -> bool:
        """Whether the machine that hosts the store, the coordinator's, still answers."""
        try:
            return self._keys.check(["decision"])
        except dist.DistError:
            return False


def _read_card(data: bytes) -> Card:
    """A card; one that cannot be read is that of nobody."""
    try:
        return msgspec.json.decode(data, type=Card)
    except (msgspec.MsgspecError, RecursionError):
        return Card(fingerprint="", gpu="")
