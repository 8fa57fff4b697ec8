"""What a key has signed, and what it has not."""

import pytest

from tdml.protocol.identity import Identity, verify_signature


@pytest.mark.parametrize("signature", [None, 7, b"ab", "", "ab", "no hex digits", "ab" * 64, "ä"])
def test_anything_else_is_no_signature(signature: object) -> None:
    identity = Identity.new()
    assert verify_signature(identity.public, identity.sign(b"message"), b"message")
    assert not verify_signature(identity.public, signature, b"message")
    assert not verify_signature("no key", identity.sign(b"message"), b"message")
