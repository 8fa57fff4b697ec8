"""Where two accounts part, and who lied: lies of every kind against a plain simulation."""

import hashlib
import random

import pytest

from tdml.trust.dispute import END, STATE, Item, Transcript, agreed, first_difference, items, liars

_STAGES, _STEPS = 4, 6
_SENDERS = [0, 1, 2, 3, 2, 1]  # activations down, gradients back


def true_word(item: Item, words: dict[Item, str], walk: list[Item]) -> str:
    """What honest work makes of an item: a function of all before it."""
    before = [words[other] for other in walk[: walk.index(item)]]
    return hashlib.sha256(repr((item, before)).encode()).hexdigest()


def account(party: str, lie: Item | None) -> Transcript:
    """What a party tells that lies in one item, and by it is misled in all that follow."""
    walk, words = list(items(_STEPS, _SENDERS, _STAGES, last=True)), {}
    for item in walk:
        words[item] = true_word(item, words, walk) + ("!" if item == lie else "")
    return Transcript(party, words)


@pytest.mark.parametrize("seed", range(40))
def test_the_first_lie_is_found_and_only_who_told_it(seed: int) -> None:
    draw, walk = random.Random(seed), list(items(_STEPS, _SENDERS, _STAGES, last=True))
    lie = draw.choice(walk)
    told = [
        account("claimant", lie if seed % 2 else None),
        account("validator", None if seed % 2 else lie),
    ]
    item = first_difference(told, iter(walk))
    assert item == lie
    honest = told[0 if seed % 2 == 0 else 1]
    right = {
        word: word == honest.words[item] for word in (told[0].words[item], told[1].words[item])
    }
    assert liars(told, item, right) == ("claimant" if seed % 2 else "validator",)
    for other in walk[: walk.index(lie)]:
        assert agreed(told, other) == honest.words[other]


def test_who_speaks_of_some_items_only_is_heard_on_these() -> None:
    full = account("validator", None)
    partial = Transcript("claimant", {Item(5, 2, END): "another"})
    item = first_difference([full, partial], items(_STEPS, _SENDERS, _STAGES, last=True))
    assert item == Item(5, 2, END)


def test_where_recomputation_confirms_nobody_nobody_has_lied() -> None:
    item = Item(0, 0, STATE)
    told = [Transcript("a", {item: "x"}), Transcript("b", {item: "y"})]
    assert liars(told, item, {"x": False, "y": False}) == ()
    assert liars(told, item, {"x": True, "y": False}) == ("b",)


def test_of_equal_accounts_there_is_no_difference() -> None:
    told = [account("a", None), account("b", None)]
    assert first_difference(told, items(_STEPS, _SENDERS, _STAGES, last=True)) is None
    assert len(list(items(_STEPS, _SENDERS, _STAGES, last=True))) == _STEPS * (6 + 4) + 4
