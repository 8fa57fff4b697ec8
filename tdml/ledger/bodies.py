"""What each kind of entry says: its keys and their types. Keys that are not named here are free."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
from msgspec import Meta

Digest = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]  # SHA-256, or a public key
DigestOrNone = Annotated[str, Meta(pattern=r"\A([0-9a-f]{64})?\Z")]
Count = Annotated[int, Meta(ge=0)]


class Job(TypedDict):
    """The first entry of all."""

    name: str
    version: str  # of TDML
    config: Digest  # of the bytes of config.yaml
    coordinator: Digest  # public key
    rounds: Count
    replicas: Count
    stages: Count
    policy: str
    pool: Count
    stake: Count
    audit_rate: float
    audit_windows: Count
    shares: list[Count]  # of the computation, by stage, in millionths
    samples: list[Count]  # by replica


class Roster(TypedDict):
    """Who takes part."""

    keys: dict[str, Digest]  # public keys by node name
    given: bool  # in advance; otherwise trusted at first contact
    refused: dict[str, str]  # why, by node name


class Resume(TypedDict):
    """A restart: the entries of all rounds > `after` that come before it are void."""

    after: Count
    config: NotRequired[Digest]  # of config.yaml, if it is another than before
    changed: NotRequired[dict[str, tuple[Any, Any]]]  # settings of the rounds to come: before and now


class Round(TypedDict):
    """A round begins."""

    secret: Digest  # of the secret that is told after the commits
    weights: Digest  # of the global weights
    seats: dict[str, list[str]]  # node names by replica, in the order of the stages


class Commit(TypedDict):
    """A node binds itself. The only kind that a node signs."""

    node: str
    update: DigestOrNone
    states: DigestOrNone


class Reveal(TypedDict):
    """The round's secret."""

    secret: Annotated[str, Meta(pattern=r"\A([0-9a-f]{2})+\Z")]


class Suspicion(TypedDict):
    """What the screen says against a replica."""

    replica: Count
    nodes: list[str]
    reason: str


class Evidence(TypedDict):
    """What the cross-check says about a replica, in nats."""

    replica: Count
    nodes: list[str]
    against: float  # in this round
    total: float  # over all rounds; of who is convicted at least what convicts
    reason: str
    judges: list[Any]


class Audit(TypedDict):
    """A replica's work was executed again."""

    replica: Count
    nodes: list[str]
    windows: list[Any]
    validators: dict[str, Any]
    outcome: Literal["clean", "lied", "unsettled"]
    blamed: list[str]
    disputes: NotRequired[list[tuple[str, str]]]  # nodes that contradict each other: one of each pair lied
    absent: NotRequired[list[str]]  # nodes that were gone when they had to show their work
    erratic: NotRequired[list[str]]  # nodes whose own repetitions of their work differ
    reason: str
    artifacts: dict[str, Digest]


class Verdict(TypedDict):
    """What becomes of a replica's round."""

    replica: Count
    nodes: list[str]
    status: Literal["honest", "suspicious", "malicious", "lost"]
    reason: str
    blamed: list[str]
    perjured: NotRequired[list[str]]  # nodes that lied as validators in this round
    disputes: NotRequired[list[tuple[str, str]]]  # those that an audit or a cross-check of others has found
    absent: NotRequired[list[str]]  # nodes that were gone when they had to show their work
    erratic: NotRequired[list[str]]  # nodes whose own repetitions of their work differ
    samples: Count
    improvement: NotRequired[int]


class Refusal(TypedDict):
    """Something that was not let in; `node` is "" where nobody can be named."""

    node: str
    what: str


class Ban(TypedDict):
    """A node is excluded for the rest of the job."""

    node: str
    key: Digest
    reason: str


Posting = TypedDict("Posting", {"from": str, "to": str, "amount": Annotated[int, Meta(gt=0)], "why": str})


class Rewards(TypedDict):
    """Money that moves."""

    postings: list[Posting]


class Weights(TypedDict):
    """The global weights after a round."""

    digest: Digest


class Root(TypedDict):
    """A round is closed."""

    entries: Count
    root: Digest  # Merkle root of the hashes of the round's entries


class End(TypedDict):
    """The run is over."""

    model: Digest
    reason: str


KINDS: dict[str, Any] = {
    shape.__name__.lower(): shape
    for shape in (
        Job, Roster, Resume, Round, Commit, Reveal, Suspicion, Evidence, Audit, Verdict, Refusal, Ban, Rewards,
        Weights, Root, End,
    )
}  # fmt: skip


def check(kind: str, body: object) -> None:
    """Raises:
    ValueError: there is no such kind, or its body is made otherwise.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of entry")
    msgspec.convert(body, KINDS[kind])
