"""Cards that anybody may leave."""

import json
from dataclasses import asdict, replace

import pytest

from tdml.data.contents import Contents
from tdml.members.cards import Card, read_card
from tdml.settings.file import differing


@pytest.mark.parametrize("rank", [0, -1, -(2**70), 2**60, 2**70, 1.5, "1", True])
def test_a_card_with_a_rank_that_nobody_has_is_nobodys(rank: object) -> None:
    """Whoever reaches the store can leave one there."""
    card = read_card(json.dumps({"fingerprint": "", "gpu": "", "rank": rank}).encode())
    assert card == Card(fingerprint="", gpu="")


def test_a_card_with_numbers_that_nobody_can_sign_is_nobodys() -> None:
    data = asdict(Contents(2**60, 1, "", "", "", ""))
    card = read_card(json.dumps({"fingerprint": "", "gpu": "", "data": data}).encode())
    assert card == Card(fingerprint="", gpu="")


def test_what_the_work_follows_from_is_said_line_by_line() -> None:
    """A run that goes on compares it with what it was begun with: a table may have grown."""
    data = Contents(1437, 360, "ab", "cd", "ef", "01", form="of size, age\n→ price")
    before = Card("", "", data, code="tdml 1a\nmine 2b").work
    grown = replace(data, training_samples=1500, training_labels="ba")
    after = Card("", "", grown, code="tdml 1a\nmine 2b").work
    assert differing(before, after) == ["data.training_labels", "data.training_samples"]
    assert before.splitlines()[:3] == ["tdml 1a", "mine 2b", "data.training_samples 1437"]
    assert Card("", "", None, code="tdml 1a").work == "tdml 1a"
