"""What is said at the job's store: cards, calls and decisions, each signed by who says it."""

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Self, TypeVar

import msgspec

from tdml.data.contents import Contents
from tdml.protocol.identity import Identity, verify_signature
from tdml.protocol.statement import DigestOrNone, canonical
from tdml.wire.channel import Session

LONGEST_ERROR = 2_000  # characters of what a process says that it cannot take part for
_LONGEST_CARD = 2**18  # bytes: a line for every setting, and for every module of the user's
_Signature = Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{128})?\Z")]
_Word = Annotated[str, msgspec.Meta(max_length=64)]  # drawn at random by whoever says it


@dataclass(frozen=True, kw_only=True)
class _Signed:
    """What somebody says whose key is `public`: the signature shows that he holds the private
    half. `context`: what is signed together with it."""

    public: DigestOrNone = ""
    signature: _Signature = ""

    def signed(self, identity: Identity, *context: str) -> Self:
        """The same, said by `identity`."""
        said = replace(self, public=identity.public)
        return replace(said, signature=identity.sign(said._text(*context)))

    def is_signed(self, *context: str) -> bool:
        """Whether whoever says this holds the key."""
        return verify_signature(self.public, self.signature, self._text(*context))

    def _text(self, *context: str) -> bytes:
        raise NotImplementedError


_T = TypeVar("_T", bound=_Signed)


@dataclass(frozen=True)
class Card(_Signed):
    """What a process says of itself, for one session: its context."""

    fingerprint: str  # of its settings
    gpu: str  # that it has to itself: see `own_gpu`
    data: Contents | None = None  # what its data hold; None where it reads none
    code: str = ""  # that it runs: see `code_of`
    # why it cannot take part, in one line
    error: Annotated[str, msgspec.Meta(max_length=LONGEST_ERROR)] | None = None
    # that the launcher gave it; None where it has joined later
    rank: Annotated[int, msgspec.Meta(ge=1)] | None = None
    visit: _Word = ""  # of this process alone

    @property
    def work(self) -> str:
        """What its work follows from, beside settings: a line for each, with its name. What form
        samples have, in words of any length, their inputs say too."""
        held = {} if self.data is None else asdict(replace(self.data, form=""))
        lines = (f"data.{name} {value}" for name, value in held.items() if value != "")
        return "\n".join([self.code, *lines])

    def _text(self, *context: str) -> bytes:
        return canonical(["tdml card", *context, asdict(replace(self, signature=""))])


@dataclass(frozen=True)
class Call(_Signed):
    """The coordinator calls everybody to a new session."""

    session: _Word

    def _text(self, *context: str) -> bytes:
        return canonical(["tdml call", self.session, self.public])


@dataclass(frozen=True)
class Member:
    """The process of that visit whose key is `public` takes part under that name: a visit alone
    anybody can write on a card."""

    name: str
    visit: str
    public: str


@dataclass(frozen=True)
class Refusal:
    """Why a process takes no part. `public` is its key if its card was signed, else ""."""

    visit: str
    public: str
    reason: str


@dataclass(frozen=True)
class Decision(_Signed):
    """What the coordinator decided: an error that ends the job, or to go on with these members."""

    error: str | None = None
    at: Session = Session("", "")  # noqa: RUF009 - frozen
    members: tuple[Member, ...] = ()  # the coordinator first
    refused: tuple[Refusal, ...] = ()
    attempt: int = 0  # how often the launcher had started the coordinator again

    @property
    def visit(self) -> str:
        """The visit of the coordinator's process; "" if the decision names no members."""
        return self.members[0].visit if self.members else ""

    def place(self, card: Card) -> int | None:
        """The rank in the session of the process that has handed in this card; None if it is no
        member."""
        cards = [(member.visit, member.public) for member in self.members]
        own = card.visit, card.public
        return cards.index(own) if own in cards else None

    def reason(self, card: Card) -> str | None:
        """Why the process that has handed in this card is refused; None if it is not."""
        own = card.visit, card.public
        reasons = (each.reason for each in self.refused if (each.visit, each.public) == own)
        return next(reasons, None)

    def _text(self, *context: str) -> bytes:
        return canonical(["tdml decision", asdict(replace(self, signature=""))])


@dataclass(frozen=True)
class EndOfRun(_Signed):
    """The run of a job is over, with an exit status."""

    status: int
    job: str
    attempt: int  # how often the launcher had started the coordinator again
    visit: _Word  # of the coordinator's process: a job that was interrupted goes on in another

    def _text(self, *context: str) -> bytes:
        return canonical(["tdml end", self.status, self.job, self.attempt, self.visit, self.public])


class Over(Exception):
    """The run is over."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the run has ended with status {status}")
        self.status = status


def read(data: bytes, kind: type[_T]) -> _T | None:
    """What was said, by whomever; None if it is something else, or nobody could sign it."""
    try:
        said = msgspec.json.decode(data, type=kind)
        said._text("")
    except (msgspec.MsgspecError, RecursionError, ValueError):  # also of bytes that are no text
        return None
    return said


def read_card(data: bytes) -> Card:
    """A card; one that cannot be read, is too long, or that nobody could sign is that of nobody."""
    card = read(data, Card) if len(data) <= _LONGEST_CARD else None
    return card or Card(fingerprint="", gpu="")


def read_end(data: bytes) -> EndOfRun | None:
    """The end of a run, signed by whoever says so; None if it is nobody's."""
    end = read(data, EndOfRun)
    return end if end and end.is_signed() else None
