"""What each kind of entry says: its keys and their types. Keys that are not named here are free."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
from msgspec import Meta

from tdml.protocol.statement import Digest, DigestOrNone

Count = Annotated[int, Meta(ge=0)]


class JobBody(TypedDict):
    """The first entry of all."""

    name: str
    version: str  # of TDML
    config: Digest  # of the bytes of config.yaml
    coordinator: Digest  # public key
    rounds: Count
    replicas: Count  # at most
    stages: Count
    policy: str
    pool: Count
    stake: Count
    audit_chance: float  # that a window of somebody's round is executed again, whoever it is
    shares: list[Count]  # of the computation, by stage, in millionths
    samples: list[Count]  # of a full round, by replica


class RosterBody(TypedDict):
    """Who takes part."""

    keys: dict[str, Digest]  # public keys by node name
    given: bool  # in advance; otherwise trusted at first contact
    refused: dict[str, str]  # why, by node name


class ResumeBody(TypedDict):
    """A restart: the entries of all rounds > `after` that come before it are void, but for bans."""

    after: Count
    config: NotRequired[Digest]  # of config.yaml, if it is another than before
    # settings of the rounds to come: before and now
    changed: NotRequired[dict[str, tuple[Any, Any]]]


class RollbackBody(TypedDict):
    """The run goes on from the weights after round `after`: what a proven liar has put in since is
    taken out. The work of the rounds since then was done, and stays paid; bans stay, too."""

    after: Count
    reason: str


class RoundBody(TypedDict):
    """A round begins."""

    secret: Digest  # of the secret that is told after the commits
    weights: Digest  # of the global weights
    slots: dict[str, list[str]]  # node names by replica, in the order of the stages
    standby: NotRequired[list[str]]  # nodes that are there and hold no slot, if there are any
    steps: NotRequired[dict[str, Count]]  # of the replicas that take fewer than all of theirs


class CommitBody(TypedDict):
    """A node binds itself. The only kind that a node signs."""

    node: str
    play: Digest  # hash of the round's secret: nobody can use it for another play of the round
    update: DigestOrNone
    states: DigestOrNone


class RevealBody(TypedDict):
    """The round's secret."""

    secret: Annotated[str, Meta(pattern=r"\A([0-9a-f]{2})+\Z")]


class DisputeBody(TypedDict):
    """Two transcripts of a window that part in a `place`. The nodes in `blamed` are proven to lie
    by recomputation."""

    window: Count
    validator: Count | None  # None: it was the coordinator that looked
    place: str
    blamed: list[str]
    unsettled: str  # why nobody is blamed
    artifacts: dict[str, Digest]


class AuditBody(TypedDict):
    """Some windows of a replica's work were executed again."""

    replica: Count
    nodes: list[str]
    # who executed each window again; null: the coordinator, a part of it
    validators: dict[str, Count | None]
    outcome: Literal["clean", "lied", "unsettled"]
    reason: str
    disputes: list[DisputeBody]


class VerdictBody(TypedDict):
    """What becomes of a replica's round."""

    replica: Count
    nodes: list[str]
    status: Literal["honest", "suspicious", "malicious", "lost"]
    reason: str
    blamed: list[str]
    weight: float  # what its update counts, from 0 to 1
    scale: float  # what it was shortened to
    distance: float | None  # by which it stands out, in widths; None: it equals another
    p: float | None  # of the work test
    proven: bool  # all of its work was repeated and found again
    samples: Count
    improvement: int
    repeated: NotRequired[Count]  # samples whose work chance had repeated, and that was shown
    unfound: NotRequired[bool]  # its update cannot be averaged, nor was its work found again
    forgiven: NotRequired[list[str]]  # that cannot show an earlier round's work any more, if any


class RefusalBody(TypedDict):
    """Something that was not let in; `node` is "" where nobody can be named."""

    node: str
    what: str


class BanBody(TypedDict):
    """A node is excluded for the rest of the job."""

    node: str
    key: Digest
    reason: str


Posting = TypedDict(
    "Posting", {"from": str, "to": str, "amount": Annotated[int, Meta(gt=0)], "why": str}
)


class RewardsBody(TypedDict):
    """Money that moves."""

    postings: list[Posting]


class WeightsBody(TypedDict):
    """The global weights after a round."""

    digest: Digest


class RootBody(TypedDict):
    """A round is closed."""

    entries: Count
    root: Digest  # Merkle root of the hashes of the round's entries


class EndBody(TypedDict):
    """The run is over."""

    model: Digest
    reason: str
    owing: NotRequired[list[Digest]]  # keys that have not shown work that they were asked for


KINDS: dict[str, Any] = {
    "job": JobBody,
    "roster": RosterBody,
    "resume": ResumeBody,
    "rollback": RollbackBody,
    "round": RoundBody,
    "commit": CommitBody,
    "reveal": RevealBody,
    "audit": AuditBody,
    "verdict": VerdictBody,
    "refusal": RefusalBody,
    "ban": BanBody,
    "rewards": RewardsBody,
    "weights": WeightsBody,
    "root": RootBody,
    "end": EndBody,
}


def check(kind: str, body: object) -> None:
    """Raises:
    ValueError: there is no such kind, or its body is made otherwise.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of entry")
    msgspec.convert(body, KINDS[kind])
