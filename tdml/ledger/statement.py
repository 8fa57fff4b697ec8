"""What is signed: a statement of one author about one round of one job, in its canonical encoding."""

from dataclasses import asdict, dataclass
from typing import Any

import rfc8785

from tdml.identity import Identity, verify


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
        return canonical(asdict(self))

    def sign(self, identity: Identity) -> str:
        """The author's signature."""
        assert identity.public == self.author
        return identity.sign(self.encode())

    def signed_by_author(self, signature: object) -> bool:
        """Whether the signature is the author's."""
        return verify(self.author, signature, self.encode())


def canonical(value: Any) -> bytes:
    """JSON in the canonical form of RFC 8785.

    Raises:
        ValueError: the value is not JSON.
    """
    return rfc8785.dumps(value)
