"""Proofs that an entry is in a ledger, for whoever holds no more than the root of its round."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import msgspec

from tdml.common import merkle
from tdml.errors import SettingError
from tdml.ledger.entry import Entry, by_round, chain_hash
from tdml.protocol.statement import Digest, Statement, canonical, parse


@dataclass(frozen=True)
class InclusionProof:
    """An entry, without its hash and its seal, and the way from it to the root."""

    index: int
    prev: Digest
    statement: Statement
    signature: str
    path: list[tuple[Literal["left", "right"], Digest]]

    def encode(self) -> bytes:
        """The file: canonical JSON."""
        return canonical(asdict(self))


def prove(entries: Sequence[Entry], index: int) -> tuple[InclusionProof, str]:
    """The proof of entry `index`, and the root of its round.

    Args:
        entries: all of a ledger that is sound.

    Raises:
        SettingError: there is no such entry, or it is under no root.
    """
    if not 0 <= index < len(entries):
        raise SettingError(f"ENTRY={index}: the ledger has the entries 0 to {len(entries) - 1}")
    entry = entries[index]
    round_ = next(part for part in by_round(entries) if part[-1].index >= index)
    if entry.kind == "root":
        raise SettingError(
            f"ENTRY={index} is the root of round {entry.round} itself: it needs no proof"
        )
    if round_[-1].kind != "root":
        raise SettingError(
            f"ENTRY={index} is under no root: round {entry.round} was broken off, or goes on still"
        )
    hashes = [other.hash for other in round_[:-1]]
    path = merkle.path(hashes, index - round_[0].index)
    return InclusionProof(index, entry.prev, entry.statement, entry.signature, path), merkle.root(
        hashes
    )


def check(text: bytes, root: str) -> InclusionProof:
    """Read a proof whose entry the root vouches for.

    Raises:
        ValueError: it is no proof, not one of this root, or the entry is not signed by its author.
    """
    try:
        proof = msgspec.convert(parse(text.decode()), InclusionProof)
    except ValueError as error:
        raise ValueError(f"it is no proof: {error}") from error
    leaf = chain_hash(proof.index, proof.prev, proof.statement, proof.signature)
    if merkle.climbs_to(leaf, proof.path) != root:
        raise ValueError("the entry is not under this root")
    if not proof.statement.signed_by_author(proof.signature):
        raise ValueError("the entry is not signed by its author")
    return proof
