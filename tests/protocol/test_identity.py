"""What a key has signed, and what it has not."""

import pytest

from tdml.protocol.identity import Identity, verify_signature


@pytest.mark.parametrize("signature", [None, 7, b"ab", "", "ab", "no hex digits", "ab" * 64, "ä"])
def test_anything_else_is_no_signature(signature: object) -> None:
    identity = Identity.new()
    assert verify_signature(identity.public, identity.sign(b"message"), b"message")
    assert not verify_signature(identity.public, signature, b"message")
    assert not verify_signature("no key", identity.sign(b"message"), b"message")


_P = 2**255 - 19
# y of a point of order 8, as RFC 8032 spells it
_EIGHTH = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)


@pytest.mark.parametrize("sign", [0, 1 << 255])
@pytest.mark.parametrize("y", [0, 1, _P - 1, _P, _P + 1, _EIGHTH, _P - _EIGHTH])
def test_for_a_key_that_is_anybodys_nobody_has_signed(y: int, sign: int) -> None:
    """With R = 0 and s = 0, or R a multiple of the key, one of a few signatures suits any text."""
    key = (y + sign).to_bytes(32, "little").hex()
    points = (n.to_bytes(32, "little").hex() for n in (0, 1, _P - 1, _EIGHTH, _P - _EIGHTH))
    signatures = [point + "00" * 32 for point in points]
    texts = [b"%d" % number for number in range(64)]
    assert not any(verify_signature(key, s, text) for s in signatures for text in texts)
