"""Cards that anybody may leave."""

import json
from dataclasses import asdict

import pytest

from tdml.data.contents import Contents
from tdml.members.cards import Card, read_card


@pytest.mark.parametrize("rank", [0, -1, -(2**70), 2**60, 2**70, 1.5, "1", True])
def test_a_card_with_a_rank_that_nobody_has_is_nobodys(rank: object) -> None:
    """Whoever reaches the store can leave one there."""
    card = read_card(json.dumps({"fingerprint": "", "gpu": "", "rank": rank}).encode())
    assert card == Card(fingerprint="", gpu="")


def test_a_card_with_numbers_that_nobody_can_sign_is_nobodys() -> None:
    data = asdict(Contents(2**60, 1, "", "", "", ""))
    card = read_card(json.dumps({"fingerprint": "", "gpu": "", "data": data}).encode())
    assert card == Card(fingerprint="", gpu="")
