"""Cards and the coordinator's decision: nobody can make one for a key that is not theirs."""

from dataclasses import replace

from tdml.cluster.channel import Session
from tdml.cluster.lobby import Card, Decision, _read_card
from tdml.identity import Identity

_ME, _OTHER = Identity.new(), Identity.new()


def test_card_counts_for_its_key_rank_and_session_only() -> None:
    card = Card("settings", True).signed(_ME, "session", 3)
    assert card.public == _ME.public
    assert card.is_signed("session", 3)
    assert not card.is_signed("session", 4)
    assert not card.is_signed("earlier", 3)
    for altered in (
        replace(card, public=_OTHER.public), replace(card, fingerprint="others"),
        replace(card, gpu="other"), replace(card, signature=""), Card("settings", True),
    ):  # fmt: skip
        assert not altered.is_signed("session", 3)


def test_card_that_cannot_be_read_is_nobodys() -> None:
    for data in (b"", b"{}", b"[" * 10_000, b'{"fingerprint": 1, "gpu": ""}', b"\xff"):
        assert not _read_card(data).is_signed("session", 1)


def test_decision_counts_as_it_was_signed_only() -> None:
    decision = Decision(None, Session("job", "session"), (0, 2), {1: "banned"}).signed(_ME)
    assert decision.public == _ME.public
    assert decision.is_signed()
    for altered in (
        replace(decision, public=_OTHER.public), replace(decision, members=(0, 1, 2)),
        replace(decision, refused={}), replace(decision, at=Session("job", "other")),
        replace(decision, at=Session("other", "session")),
        replace(decision, signature=_OTHER.sign(b"")),
    ):  # fmt: skip
        assert not altered.is_signed()
