"""Where two transcripts part, and who lied: lies of every kind against a plain simulation."""

import hashlib
import random

import pytest

from tdml.trust.dispute import END, STATE, Item, Transcript, agreed, first_difference, items, liars

_STAGES, _STEPS = 4, 6
_OWNER, _VALIDATOR = 2, 5
_SENDERS = [0, 1, 2, 3, 2, 1]  # activations down, gradients back


def true_digest(item: Item, digests: dict[Item, str], walk: list[Item]) -> str:
    """What honest work makes of an item: a function of all before it."""
    before = [digests[other] for other in walk[: walk.index(item)]]
    return hashlib.sha256(repr((item, before)).encode()).hexdigest()


def transcript(party: int, lie: Item | None) -> Transcript:
    """What a party tells that lies in one item, and by it is misled in all that follow."""
    walk, digests = list(items(_STEPS, _SENDERS, _STAGES, last=True)), {}
    for item in walk:
        digests[item] = true_digest(item, digests, walk) + ("!" if item == lie else "")
    return Transcript(party, digests)


@pytest.mark.parametrize("seed", range(40))
def test_the_first_lie_is_found_and_only_who_told_it(seed: int) -> None:
    draw, walk = random.Random(seed), list(items(_STEPS, _SENDERS, _STAGES, last=True))
    lie = draw.choice(walk)
    told = [
        transcript(_OWNER, lie if seed % 2 else None),
        transcript(_VALIDATOR, None if seed % 2 else lie),
    ]
    item = first_difference(told, iter(walk))
    assert item == lie
    honest = told[0 if seed % 2 == 0 else 1]
    right = {
        digest: digest == honest.digests[item]
        for digest in (told[0].digests[item], told[1].digests[item])
    }
    assert liars(told, item, right) == (_OWNER if seed % 2 else _VALIDATOR,)
    for other in walk[: walk.index(lie)]:
        assert agreed(told, other) == honest.digests[other]


def test_who_speaks_of_some_items_only_is_heard_on_these() -> None:
    full = transcript(_VALIDATOR, None)
    partial = Transcript(_OWNER, {Item(5, 2, END): "another"})
    item = first_difference([full, partial], items(_STEPS, _SENDERS, _STAGES, last=True))
    assert item == Item(5, 2, END)


def test_where_recomputation_confirms_nobody_nobody_has_lied() -> None:
    item = Item(0, 0, STATE)
    told = [Transcript(0, {item: "x"}), Transcript(1, {item: "y"})]
    assert liars(told, item, {"x": False, "y": False}) == ()
    assert liars(told, item, {"x": True, "y": False}) == (1,)
    assert liars(told, item, {"x": True, "y": None}) == (), "two kinds of machines may differ so"


def test_of_equal_transcripts_there_is_no_difference() -> None:
    told = [transcript(0, None), transcript(1, None)]
    assert first_difference(told, items(_STEPS, _SENDERS, _STAGES, last=True)) is None
    assert len(list(items(_STEPS, _SENDERS, _STAGES, last=True))) == _STEPS * (6 + 4) + 4
