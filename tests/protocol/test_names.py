import pytest

from tdml.protocol.names import first_slot, node_name, rpc_name, slot_name
from tdml.protocol.orders import Slot
from tdml.settings.schema import Topology


def topology(replicas, stages, spares, **settings):
    return Topology(
        replicas=replicas, stages=stages, spares=spares, schedule="1f1b", chunks=2, **settings
    )


def test_names_by_rank():
    names = [node_name(rank, topology(2, 3, 2)) for rank in range(1, 9)]
    assert names == ["r0.s0", "r0.s1", "r0.s2", "r1.s0", "r1.s1", "r1.s2", "spare0", "spare1"]


@pytest.mark.parametrize(
    ("rank", "slot"),
    [(1, Slot(0, 0)), (3, Slot(0, 2)), (4, Slot(1, 0)), (6, Slot(1, 2)), (7, None), (8, None)],
)
def test_seats_by_rank(rank, slot):
    assert first_slot(rank, topology(2, 3, 2)) == slot


def test_the_coordinator_is_no_node():
    with pytest.raises(AssertionError):
        node_name(0, topology(2, 3, 2))


@pytest.mark.parametrize(
    ("replicas", "stages", "spares", "ranks"), [(1, 1, 0, 2), (4, 2, 1, 10), (3, 5, 2, 18)]
)
def test_every_rank_has_a_name_of_its_own(replicas, stages, spares, ranks):
    shape = topology(replicas, stages, spares)
    assert shape.world_size == ranks
    assert len({node_name(rank, shape) for rank in range(1, ranks)}) == ranks - 1
    assert sum(first_slot(rank, shape) is None for rank in range(1, ranks)) == spares


@pytest.mark.parametrize(
    ("schedule", "parts"), [("1f1b", 3), ("gpipe", 3), ("interleaved_1f1b", 12)]
)
def test_only_the_interleaved_schedule_cuts_finer(schedule, parts):
    assert Topology(replicas=1, stages=3, spares=0, schedule=schedule, chunks=4).parts == parts


def test_how_they_are_written():
    assert slot_name(Slot(12, 3)) == "r12.s3"
    assert rpc_name(7) == "rank7"
