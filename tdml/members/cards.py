"""What is said at the job's store: cards, calls and decisions, each signed by who says it."""

from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Self

import msgspec

from tdml.data.contents import Contents
from tdml.protocol.identity import Identity, verify_signature
from tdml.protocol.statement import canonical
from tdml.wire.channel import Session


@dataclass(frozen=True, kw_only=True)
class _Signed:
    """What somebody says whose key is `public`: the signature shows that he holds the private
    half. `context`: what is signed together with it."""

    public: str = ""
    signature: str = ""

    def signed(self, identity: Identity, *context: str) -> Self:
        """The same, said by `identity`."""
        said = replace(self, public=identity.public)
        return replace(said, signature=identity.sign(said._text(*context)))

    def is_signed(self, *context: str) -> bool:
        """Whether whoever says this holds the key."""
        return verify_signature(self.public, self.signature, self._text(*context))

    def _text(self, *context: str) -> bytes:
        raise NotImplementedError


@dataclass(frozen=True)
class Card(_Signed):
    """What a process says of itself, for one session: its context."""

    fingerprint: str  # of its settings
    gpu: str  # that it has to itself: see `own_gpu`
    data: Contents | None = None  # what its data hold; None where it reads none
    code: str = ""  # that it runs: see `code_of`
    error: str | None = None  # why it cannot take part, in one line
    # that the launcher gave it; None where it has joined later
    rank: Annotated[int, msgspec.Meta(ge=1)] | None = None
    visit: str = ""  # of this process alone

    def _text(self, *context: str) -> bytes:
        return canonical(["tdml card", *context, asdict(replace(self, signature=""))])


@dataclass(frozen=True)
class Call(_Signed):
    """The coordinator calls everybody to a new session."""

    session: str

    def _text(self, *context: str) -> bytes:
        return canonical(["tdml call", self.session, self.public])


@dataclass(frozen=True)
class Decision(_Signed):
    """What the coordinator decided: an error that ends the job, or to go on with these members."""

    error: str | None = None
    at: Session = Session("", "")  # noqa: RUF009 - frozen
    members: tuple[tuple[str, str], ...] = ()  # names and visits, the coordinator's first
    refused: dict[str, str] = field(default_factory=dict)  # visits, and why
    attempt: int = 0  # how often the launcher had started the coordinator again

    def place(self, visit: str) -> int | None:
        """The rank in the session of the process with this visit; None if it is no member."""
        visits = [member for _, member in self.members]
        return visits.index(visit) if visit in visits else None

    def _text(self, *context: str) -> bytes:
        members = [list(member) for member in self.members]
        refused = sorted([visit, reason] for visit, reason in self.refused.items())
        at = [self.at.job, self.at.session]
        return canonical(["tdml decision", *at, members, refused, self.public])


@dataclass(frozen=True)
class End(_Signed):
    """The run of a job is over, with an exit status."""

    status: int
    job: str
    attempt: int  # how often the launcher had started the coordinator again

    def _text(self, *context: str) -> bytes:
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
