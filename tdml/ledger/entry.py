"""An entry of the ledger: a signed statement, chained to the one before and sealed by the
coordinator."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tdml.protocol.identity import Identity, verify_signature
from tdml.protocol.statement import Statement, canonical

START = "0" * 64  # the hash before the first entry
_SIGNATURE = re.compile(r"\A[0-9a-f]{128}\Z")


@dataclass(frozen=True)
class Entry:
    """Hashes are 64 hex digits, signatures 128."""

    index: int  # from 0
    job: str
    round: int  # 0: before the first
    kind: str
    author: str  # public key
    body: dict[str, Any]
    signature: str  # the author's, over the statement
    prev: str  # hash of the entry before
    hash: str
    seal: str  # the coordinator's, over the hash

    @property
    def statement(self) -> Statement:
        """What the author has signed."""
        return Statement(self.job, self.round, self.kind, self.author, self.body)

    def check_link(self, index: int, prev: str) -> None:
        """Raises:
        ValueError: it is not what follows as entry `index` on one with the hash `prev`, or its own
        hash is wrong.
        """
        if self.index != index:
            raise ValueError(f"entry {index} is missing")
        if self.prev != prev:
            raise ValueError("it does not hold the hash of the entry before")
        if self.hash != chain_hash(self.index, self.prev, self.statement, self.signature):
            raise ValueError("its hash is not that of what it says")


def chain_hash(index: int, prev: str, statement: Statement, signature: str) -> str:
    """SHA-256 of everything in an entry but the seal.

    Raises:
        ValueError: the statement's body is not JSON.
    """
    fields = {"index": index, "prev": prev, "statement": vars(statement), "signature": signature}
    return hashlib.sha256(canonical(fields)).hexdigest()


def seal(hash: str, coordinator: Identity) -> str:
    """The coordinator's signature under an entry."""
    return coordinator.sign(canonical({"seal": hash}))


def seals(hash: str, seal: object, coordinator: str) -> bool:
    """Whether the seal is that of the coordinator with this public key."""
    return is_signature(seal) and verify_signature(coordinator, seal, canonical({"seal": hash}))


def sign_head(entries: int, hash: str, coordinator: Identity) -> str:
    """The coordinator's signature under the length of the chain and its last hash."""
    return coordinator.sign(canonical({"entries": entries, "hash": hash}))


def check_head(rows: list[tuple[Any, ...]], entries: int, hash: str, coordinator: str) -> None:
    """Check the table `head` against the chain.

    Raises:
        ValueError: it has not one row, says another length or hash, or is not signed by this public
            key.
    """
    if len(rows) != 1:
        raise ValueError(f"the table head has {len(rows)} rows, not 1")
    count, last, signature = rows[0]
    if type(count) is not int or count != entries:
        raise ValueError(f"the head speaks of {count} entries, but there are {entries}")
    if last != hash:
        raise ValueError("the head does not hold the hash of the last entry")
    message = canonical({"entries": entries, "hash": hash})
    if not is_signature(signature) or not verify_signature(coordinator, signature, message):
        raise ValueError("the head is not signed by the coordinator")


def is_signature(text: object) -> bool:
    """Whether it is written as signatures are here. What is no part of a hash needs a single
    spelling."""
    return isinstance(text, str) and bool(_SIGNATURE.match(text))


def by_round(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The entries that are or will be under one root together, root included. A round that was
    broken off has none."""
    rounds: list[list[Entry]] = []
    for entry in entries:
        if not rounds or rounds[-1][-1].kind == "root" or entry.kind in ("resume", "rollback"):
            rounds.append([])
        rounds[-1].append(entry)
    return rounds
