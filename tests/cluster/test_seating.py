"""Who is moved after a dispute; beside an independent count of what the seats must be."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tdml.cluster.messages import Seat
from tdml.cluster.seating import separate


def seated(replicas, stages=2):
    """Everyone where it starts."""
    return {Seat(r, s): f"r{r}.s{s}" for r in range(replicas) for s in range(stages)}


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(seats):
    """The nodes of each replica."""
    by_replica = {}
    for seat, name in sorted(seats.items(), key=lambda item: (item[0].replica, item[0].stage)):
        by_replica.setdefault(seat.replica, []).append(name)
    return by_replica


def side_by_side(seats, disputes):
    """How many pairs in dispute sit in one replica."""
    return sum({*pair} <= {*names} for names in rows(seats).values() for pair in {tuple(sorted(d)) for d in disputes})


def test_without_a_dispute_in_a_replica_everyone_stays():
    seats = seated(4)
    assert separate(seats, ["spare0"], [], draw()) == seats
    assert separate(seats, ["spare0"], [("r0.s0", "r1.s1"), ("r2.s0", "spare0"), ("gone", "r0.s0")], draw()) == seats


@pytest.mark.parametrize("spares", [[], ["spare0"]])
def test_one_of_the_two_changes_places_with_a_node_of_the_same_stage(spares):
    seats, movers = seated(4), set()
    for seed in range(40):
        found = separate(seats, spares, [("r2.s0", "r2.s1")], draw(seed))
        moved = {seat: name for seat, name in found.items() if name != seats[seat]}
        (one, a), (other, b) = moved.items()
        assert (seats[one], seats[other]) == (b, a)
        assert one.stage == other.stage and 2 in (one.replica, other.replica)
        movers.add((min(one.replica, other.replica), max(one.replica, other.replica), one.stage))
    assert movers == {(*sorted((2, other)), stage) for other in (0, 1, 3) for stage in (0, 1)}, "all are drawn"
    again = [separate(seats, spares, [("r2.s0", "r2.s1")], draw(7)) for _ in range(2)]
    assert again[0] == again[1]


def test_nobody_who_was_in_dispute_is_chosen_where_another_can_be():
    disputes = [("r2.s0", "r2.s1"), ("r0.s0", "r1.s1"), ("r1.s0", "r0.s1")]
    for seed in range(20):
        found = separate(seated(4), [], disputes, draw(seed))
        assert rows(found)[2] in (["r3.s0", "r2.s1"], ["r2.s0", "r3.s1"])


def test_a_spare_takes_the_place_where_nobody_else_can():
    disputes = [("r0.s0", "r0.s1"), ("r0.s0", "r1.s1")]
    for seed in range(20):
        found = separate(seated(2), ["spare0"], disputes, draw(seed))
        assert side_by_side(found, disputes) == 0
        assert "spare0" in rows(found)[0]


def test_who_has_made_room_for_a_spare_may_take_another_seat():
    ones, others = ("r0.s0", "r1.s0"), ("r0.s1", "r1.s1")
    disputes = list(itertools.product(ones, others))
    for seed in range(20):
        assert side_by_side(separate(seated(2), ["spare0"], disputes, draw(seed)), disputes) == 0


def test_two_who_cannot_be_separated_stay():
    assert separate(seated(1), [], [("r0.s0", "r0.s1")], draw()) == seated(1)
    everyone = list(itertools.product([f"r{r}.s0" for r in range(3)], [f"r{r}.s1" for r in range(3)]))
    assert separate(seated(3), [], everyone, draw()) == seated(3)


@pytest.mark.parametrize(("replicas", "liar"), [(3, "r1.s0"), (4, "r2.s0"), (4, "r0.s1")])
def test_a_liar_meets_another_neighbour_in_every_round(replicas, liar):
    """Until it has met three, which convicts it."""
    for seed in range(30):
        seats, disputes, generator = seated(replicas), [], draw(seed)
        for _ in range(3):
            [names] = [names for names in rows(seats).values() if liar in names]
            [neighbour] = [name for name in names if name != liar]
            assert (liar, neighbour) not in disputes
            disputes.append((liar, neighbour))
            seats = separate(seats, [], disputes, generator)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.data())
def test_nobody_is_lost_and_nothing_gets_worse(data):
    replicas, stages = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    seats, spares = seated(replicas, stages), [f"spare{i}" for i in range(data.draw(st.integers(0, 2)))]
    everyone = [*seats.values(), *spares]
    pairs = list(itertools.combinations(everyone, 2)) or [("x", "y")]
    disputes = data.draw(st.lists(st.sampled_from(pairs), max_size=8))
    found = separate(seats, spares, disputes, draw(data.draw(st.integers(0, 99))))
    assert found.keys() == seats.keys()
    assert len({*found.values()}) == len(found) and {*found.values()} <= {*everyone}
    before, after = side_by_side(seats, disputes), side_by_side(found, disputes)
    assert after < before or found == seats
    for seat, name in found.items():
        assert spares or name.endswith(f".s{seat.stage}"), "stages are kept"
