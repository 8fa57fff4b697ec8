"""What is signed: a statement of one author about one round of one job, in its canonical
encoding."""

import json
from dataclasses import dataclass
from typing import Annotated, Any

import rfc8785
from msgspec import Meta

from tdml.protocol.identity import Identity, verify_signature

Digest = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]  # SHA-256, or BLAKE3, or a public key
DigestOrNone = Annotated[str, Meta(pattern=r"\A([0-9a-f]{64})?\Z")]
_LARGEST_INTEGER = 2**53  # RFC 8785 knows none of this size


@dataclass(frozen=True)
class Statement:
    """`body` is JSON: strings, finite numbers, booleans, None, lists and dicts with string keys."""

    job: str  # the job's id: a statement of one job is none of another
    round: int
    kind: str
    author: str  # public key
    body: dict[str, Any]

    def encode(self) -> bytes:
        """RFC 8785: equal statements have equal bytes, on any machine.

        Raises:
            ValueError: the body is not JSON, or holds a number that JSON does not have.
        """
        return canonical(vars(self))

    def sign(self, identity: Identity) -> str:
        """The author's signature."""
        assert identity.public == self.author
        return identity.sign(self.encode())

    def signed_by_author(self, signature: object) -> bool:
        """Whether the signature is the author's."""
        return verify_signature(self.author, signature, self.encode())


def canonical(value: Any) -> bytes:
    """JSON in the canonical form of RFC 8785.

    Raises:
        ValueError: the value is not JSON.
    """
    try:
        return rfc8785.dumps(value)
    except RecursionError:
        raise ValueError("the value is nested too deeply") from None


def parse(text: str) -> Any:
    """Undo `canonical`.

    Raises:
        ValueError: the text is not the canonical form of anything.
    """
    try:
        value = json.loads(text, parse_int=_integer)
    except RecursionError:
        raise ValueError("the value is nested too deeply") from None
    if canonical(value).decode() != text:
        raise ValueError("the text is not in canonical form")
    return value


def _integer(text: str) -> int | float:
    """RFC 8785 writes large floats without a point."""
    return int(text) if abs(float(text)) < _LARGEST_INTEGER else float(text)
