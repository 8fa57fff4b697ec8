"""Who takes whose place when nodes are gone."""

import itertools
import random

import pytest

from tdml.members.placement import exchanges
from tdml.protocol.orders import Slot


def place(replicas: int, stages: int) -> dict[Slot, str]:
    return {Slot(r, s): f"r{r}.s{s}" for r, s in itertools.product(range(replicas), range(stages))}


def whole(slots: dict[Slot, str], usable: set[str]) -> set[int]:
    lacking = {slot.replica for slot, name in slots.items() if name not in usable}
    return {slot.replica for slot in slots} - lacking


@pytest.mark.parametrize(
    ("gone", "changed"),
    [
        ((), {}),
        (("r1.s0",), {}),  # nobody has a partner to give
        (("r1.s0", "r2.s0"), {}),
        (("r1.s0", "r2.s1"), {Slot(1, 0): "r2.s0", Slot(2, 0): "r1.s0"}),
        (("r0.s1", "r1.s0", "r2.s0"), {Slot(0, 1): "r2.s1", Slot(2, 1): "r0.s1"}),
        (("r0.s0", "r0.s1", "r1.s0", "r2.s1"), {Slot(1, 0): "r2.s0", Slot(2, 0): "r1.s0"}),
    ],
)
def test_of_replicas_that_lack_nodes_whole_ones_are_made(
    gone: tuple[str, ...], changed: dict[Slot, str]
) -> None:
    slots = place(3, 2)
    assert exchanges(slots, {*slots.values()} - {*gone}) == changed


@pytest.mark.parametrize("seed", range(50))
def test_nobody_leaves_a_replica_that_is_whole_or_its_stage(seed: int) -> None:
    """And as many replicas are whole as the stage that has lost most nodes allows, with up to three
    stages of up to four replicas."""
    draw = random.Random(seed)
    slots = place(draw.randint(2, 4), draw.randint(1, 3))
    usable = {name for name in slots.values() if draw.random() < 0.6}
    before, after = whole(slots, usable), {**slots, **exchanges(slots, usable)}
    assert sorted(after.values()) == sorted(slots.values())
    for slot, name in after.items():
        assert name.endswith(f"s{slot.stage}")
        assert slot.replica not in before or name == slots[slot]
    there = [
        sum(name in usable for slot, name in slots.items() if slot.stage == stage)
        for stage in {slot.stage for slot in slots}
    ]
    assert len(whole(after, usable)) == min(there)
