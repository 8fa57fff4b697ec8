"""Where two transcripts part, and who lied: lies of every kind against a plain simulation."""

import hashlib
import random

import pytest

from tdml.trust.dispute import END, STATE, Item, Transcript, agreed, first_differences, items, liars

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
    item = first_differences(told, iter(walk))[0]
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
    walk = items(_STEPS, _SENDERS, _STAGES, last=True)
    assert first_differences([full, partial], walk) == [Item(5, 2, END)]


@pytest.mark.parametrize("channel", [STATE, END])
def test_of_stages_that_lie_at_the_same_time_all_are_found(channel: int) -> None:
    """What a stage makes of a step depends on nothing that another makes of it, but for messages;
    and what comes later depends on all of it."""
    step = 3 if channel == STATE else _STEPS - 1
    lies = {Item(step, 1, channel), Item(step, 3, channel)}
    honest = transcript(_VALIDATOR, None)
    walk = list(items(_STEPS, _SENDERS, _STAGES, last=True))
    later = walk[max(map(walk.index, lies)) + 1 :]
    said = {
        item: d + "!" if item in lies or item in later else d for item, d in honest.digests.items()
    }
    assert set(first_differences([honest, Transcript(_OWNER, said)], iter(walk))) == lies


def test_of_messages_only_the_first_is_looked_at() -> None:
    """What a stage sends may well be what it has made of a false one."""
    honest = transcript(_VALIDATOR, None)
    walk = list(items(_STEPS, _SENDERS, _STAGES, last=True))
    first = walk[len(_SENDERS) + _STAGES + 2]
    said = {
        i: d + "!" if walk.index(i) >= walk.index(first) else d for i, d in honest.digests.items()
    }
    assert first_differences([honest, Transcript(_OWNER, said)], iter(walk)) == [first]


def test_of_a_stage_alone_only_the_first_false_state_is_looked_at() -> None:
    """Nothing crosses a border between one step and the next."""
    honest, walk = dict.fromkeys(items(4, (), 1, last=True), "x"), items(4, (), 1, last=True)
    said = {item: "y" if item.step else "x" for item in honest}
    told = [Transcript(_VALIDATOR, honest), Transcript(_OWNER, said)]
    assert first_differences(told, walk) == [Item(1, 0, STATE)]


def test_where_recomputation_confirms_nobody_nobody_has_lied() -> None:
    item = Item(0, 0, STATE)
    told = [Transcript(0, {item: "x"}), Transcript(1, {item: "y"})]
    assert liars(told, item, {"x": False, "y": False}) == ()
    assert liars(told, item, {"x": True, "y": False}) == (1,)
    assert liars(told, item, {"x": True, "y": None}) == (), "two kinds of machines may differ so"


def test_of_equal_transcripts_there_is_no_difference() -> None:
    told = [transcript(0, None), transcript(1, None)]
    assert first_differences(told, items(_STEPS, _SENDERS, _STAGES, last=True)) == []
    assert len(list(items(_STEPS, _SENDERS, _STAGES, last=True))) == _STEPS * (6 + 4) + 4
