"""The entries of the ledger that money follows from, as types: a body of another form is refused.

An account is a name: `mint`, where the pools come from; `deposit`, where the stakes come from;
`treasury`; and for every key `stake:KEY`, `held:KEY` and `credit:KEY`. It is the key that owns
them: whatever name a node takes, its money stays with its key.
"""

from typing import Annotated, Any, Literal, TypeVar

import msgspec

LARGEST_AMOUNT = 2**53 - 1  # of the integers that RFC 8785 can write
MINT, DEPOSIT, TREASURY = "mint", "deposit", "treasury"

Amount = Annotated[int, msgspec.Meta(ge=0)]  # money has no fractions
_T = TypeVar("_T")


class Terms(msgspec.Struct, frozen=True):
    """What the job's entry says of money."""

    rounds: Annotated[int, msgspec.Meta(ge=1)]
    policy: str  # one of `tdml.rewards.policies.POLICIES`
    pool: Amount  # what a round pays in which every replica hands in all of its work
    # of every key; None only before it is settled, see `tdml.rewards.deterrence.stake_of`
    stake: Amount | None
    audit_chance: Annotated[float, msgspec.Meta(ge=0, le=1)]  # that a window is executed again
    shares: list[Amount]  # of the computation, by stage, in millionths
    samples: list[Amount]  # of a round, by replica: of all that there may be


class Participants(msgspec.Struct, frozen=True):
    """Who takes part: name → key, without those that were refused."""

    keys: dict[str, str]
    refused: dict[str, str] = {}

    @property
    def admitted(self) -> dict[str, str]:
        """Name → key of those who were not refused."""
        return {name: key for name, key in self.keys.items() if name not in self.refused}


class Verdict(msgspec.Struct, frozen=True):
    """The verdict on one replica in one round."""

    replica: int
    nodes: list[str]  # names, by stage
    status: Literal["honest", "suspicious", "malicious", "lost"]
    blamed: list[str] = []
    proven: bool = False  # all of its work was repeated and found again
    samples: Amount = 0
    repeated: Amount = 0  # those of them whose work chance had repeated, and that was shown
    # its update cannot be averaged, and nobody has found its work again
    unfound: bool = False
    # its nodes that cannot show an earlier round's work any more, which they never showed
    forgiven: list[str] = []
    # of the held-out loss, in millionths of a nat; only measured under that policy
    improvement: int = 0

    @property
    def clears(self) -> bool:
        """Whether its nodes are known to have worked: an update may be too large to count in full,
        and honest."""
        return self.status == "honest" or (self.status == "suspicious" and self.proven)

    @property
    def handed_in(self) -> bool:
        """Whether there is an update to pay for."""
        return self.status != "lost"


class Ban(msgspec.Struct, frozen=True):
    """The ban of a key, whatever the reason."""

    key: str


class Resume(msgspec.Struct, frozen=True):
    """All entries so far of rounds > `after` are void."""

    after: Annotated[int, msgspec.Meta(ge=0)]


class End(msgspec.Struct, frozen=True):
    """The job is over. `owing` are the keys that have not shown work that they were asked for."""

    owing: list[str] = []


class Posting(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename={"source": "from", "target": "to"},
):
    """An amount that goes from one account to another."""

    source: str
    target: str
    amount: Annotated[int, msgspec.Meta(ge=1, le=LARGEST_AMOUNT)]
    why: str


class Rewards(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All postings of a round."""

    postings: list[Posting]


def read(body: Any, kind: type[_T]) -> _T:
    """An entry's body as its type.

    Raises:
        ValueError: it has another form.
    """
    return msgspec.convert(body, kind)


def stake_account(key: str) -> str:
    """Where a key's stake lies until the key is convicted."""
    return f"stake:{key}"


def held_account(key: str) -> str:
    """Where pay lies for which a key is not cleared yet."""
    return f"held:{key}"


def credit_account(key: str) -> str:
    """Where a key's pay arrives."""
    return f"credit:{key}"


def accounts_of(key: str) -> tuple[str, str, str]:
    """A key's credit, what is held back, and its stake."""
    return credit_account(key), held_account(key), stake_account(key)
