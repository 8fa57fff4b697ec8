"""Who takes whose place when nodes are gone."""

import itertools
import random

import pytest

from tdml.members.placement import exchanges, first_placement, substitutes
from tdml.protocol.orders import Slot
from tdml.settings.schema import Topology
from tdml.wire.exchange import Peer


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


def test_nobody_moves_where_that_makes_no_replica_whole() -> None:
    assert exchanges(place(2, 3), {"r0.s2", "r1.s1"}) == {}


_TOPOLOGY = Topology(replicas=2, stages=3, spares=2)


@pytest.mark.parametrize(
    ("gone", "blind", "changed"),
    [
        (("r0.s1", "r1.s1"), (), {Slot(0, 1): "spare0", Slot(1, 1): "spare1"}),
        (("r0.s0", "r1.s1"), ("spare0",), {Slot(0, 0): "spare1", Slot(1, 1): "spare0"}),
        (("r0.s0", "r1.s2"), ("spare0", "spare1"), {}),
        (("r0.s0", "r0.s1", "r0.s2"), (), {Slot(0, 0): "spare0", Slot(0, 1): "spare1"}),
    ],
)
def test_spares_take_one_place_each_and_at_an_end_only_who_sees_data(
    gone: tuple[str, ...], blind: tuple[str, ...], changed: dict[Slot, str]
) -> None:
    slots, spares = place(2, 3), ["spare0", "spare1"]
    nodes = {
        name: Peer(name, 0, sees_data=name not in blind, dead=name in gone)
        for name in (*slots.values(), *spares)
    }
    assert substitutes(slots, nodes, spares, _TOPOLOGY) == changed


def test_at_first_only_replicas_that_are_complete_have_slots() -> None:
    names = {*place(2, 3).values()} - {"r0.s1"}
    assert first_placement(names, _TOPOLOGY) == {
        slot: name for slot, name in place(2, 3).items() if slot.replica == 1
    }
