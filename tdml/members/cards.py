"""What is said at the job's store: cards, calls and decisions, each signed by who says it."""

from dataclasses import asdict, dataclass, field, replace
from typing import Annotated

import msgspec

from tdml.data.contents import Contents
from tdml.protocol.identity import Identity, verify_signature
from tdml.protocol.statement import canonical
from tdml.wire.channel import Session


@dataclass(frozen=True)
class Card:
    """What a process says of itself. `public` is its key; the signature shows that it holds the
    private half."""

    fingerprint: str  # of its settings
    gpu: str  # that it has to itself: see `own_gpu`
    data: Contents | None = None  # what its data hold; None where it reads none
    error: str | None = None  # why it cannot take part, in one line
    # that the launcher gave it; None where it has joined later
    rank: Annotated[int, msgspec.Meta(ge=1)] | None = None
    visit: str = ""  # of this process alone
    public: str = ""
    signature: str = ""

    def signed(self, identity: Identity, session: str) -> "Card":
        """The card of `identity` for one session."""
        card = replace(self, public=identity.public)
        return replace(card, signature=identity.sign(card._text(session)))

    def is_signed(self, session: str) -> bool:
        """Whether whoever made this card holds its key, and made it for this session."""
        return verify_signature(self.public, self.signature, self._text(session))

    def _text(self, session: str) -> bytes:
        card = asdict(replace(self, signature=""))
        return canonical(["tdml card", session, card])


@dataclass(frozen=True)
class Call:
    """The coordinator calls everybody to a new session."""

    session: str
    public: str = ""
    signature: str = ""

    def signed(self, identity: Identity) -> "Call":
        """The call of the coordinator with this key."""
        call = replace(self, public=identity.public)
        return replace(call, signature=identity.sign(call._text()))

    def is_signed(self) -> bool:
        """Whether whoever calls holds its key."""
        return verify_signature(self.public, self.signature, self._text())

    def _text(self) -> bytes:
        return canonical(["tdml call", self.session, self.public])


@dataclass(frozen=True)
class Decision:
    """What the coordinator decided: an error that ends the job, or to go on with these members."""

    error: str | None = None
    at: Session = Session("", "")  # noqa: RUF009 - frozen
    members: tuple[tuple[str, str], ...] = ()  # names and visits, the coordinator's first
    refused: dict[str, str] = field(default_factory=dict)  # visits, and why
    attempt: int = 0  # how often the launcher had started the coordinator again
    public: str = ""  # the coordinator's key
    signature: str = ""

    def signed(self, identity: Identity) -> "Decision":
        """The decision of the coordinator with this key."""
        decision = replace(self, public=identity.public)
        return replace(decision, signature=identity.sign(decision._text()))

    def is_signed(self) -> bool:
        """Whether whoever made this decision holds its key."""
        return verify_signature(self.public, self.signature, self._text())

    def place(self, visit: str) -> int | None:
        """The rank in the session of the process with this visit; None if it is no member."""
        visits = [member for _, member in self.members]
        return visits.index(visit) if visit in visits else None

    def _text(self) -> bytes:
        members = [list(member) for member in self.members]
        refused = sorted([visit, reason] for visit, reason in self.refused.items())
        at = [self.at.job, self.at.session]
        return canonical(["tdml decision", *at, members, refused, self.public])


@dataclass(frozen=True)
class End:
    """The run of a job is over, with an exit status."""

    status: int
    job: str
    attempt: int  # how often the launcher had started the coordinator again
    public: str = ""  # the coordinator's key
    signature: str = ""

    def signed(self, identity: Identity) -> "End":
        """The end of a run of the coordinator with this key."""
        end = replace(self, public=identity.public)
        return replace(end, signature=identity.sign(end._text()))

    def is_signed(self) -> bool:
        """Whether whoever says so holds its key."""
        return verify_signature(self.public, self.signature, self._text())

    def _text(self) -> bytes:
        return canonical(["tdml end", self.status, self.job, self.attempt, self.public])


class Over(Exception):
    """The run is over."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the run has ended with status {status}")
        self.status = status


def read_card(data: bytes) -> Card:
    """A card; one that cannot be read, or that nobody could sign, is that of nobody."""
    try:
        card = msgspec.json.decode(data, type=Card)
        card._text("")
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return Card(fingerprint="", gpu="")
    return card


def read_call(data: bytes) -> Call:
    """A call; one that cannot be read is nobody's."""
    try:
        return msgspec.json.decode(data, type=Call)
    except (msgspec.MsgspecError, RecursionError):
        return Call("")


def read_end(data: bytes) -> End | None:
    """The end of a run, signed by whoever says so; None if it is nobody's."""
    try:
        end = msgspec.json.decode(data, type=End)
        return end if end.is_signed() else None
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
