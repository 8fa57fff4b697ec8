"""Nodes that have no room on their machine are refused before they start."""

import pytest

from tdml.config import load
from tdml.errors import SettingError
from tdml.node.memory import Need
from tdml.run import room

GIB = 2**30
NEEDS = [Need(3 * GIB, GIB), Need(4 * GIB, int(1.1 * GIB))]
CONFIG = load(["topology.replicas=2", "topology.stages=2", "topology.spares=1", "device=cpu"])


@pytest.mark.parametrize(
    ("ranks", "has", "fits"), [(6, 19, True), (6, 18, False), (3, 10, True), (3, 9, False)]
)
def test_the_nodes_of_this_machine_fit_or_are_refused(ranks, has, fits, monkeypatch):
    """Two replicas of 4.0 and 5.1 GiB; a spare holds nothing yet, and ranks that other agents have
    started are elsewhere."""
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
    monkeypatch.setattr(room, "machine_memory", lambda: has * GIB)
    if fits:
        room.check_room(CONFIG, NEEDS)
        return
    count, total = (4, 18.2) if ranks == 6 else (2, 9.1)
    with pytest.raises(SettingError) as caught:
        room.check_room(CONFIG, NEEDS)
    assert str(caught.value).startswith(
        f"r0.s1 needs 5.1 GiB, and all {count} nodes on this machine {total} GiB beside Python and "
        f"torch, but it has {has}.0 GiB: start nodes on other machines, or take smaller"
    )


def test_gpus_are_filled_by_what_lies_on_them(monkeypatch):
    with pytest.raises(
        SettingError, match=r"r1\.s0 needs 4\.0 GiB, and all 2 nodes on GPU 1 7\.0 "
    ):
        room.check_fits({"r0.s0": 3 * GIB, "r1.s0": 4 * GIB}, 6 * GIB, "GPU 1")


def test_needs_in_words():
    assert room.in_words(NEEDS) == (
        "memory that nodes need, beside Python and torch: r*.s0 4.0 GiB, r*.s1 5.1 GiB"
    )
    assert room.in_words([Need(5 * 2**20, 1)]) == (
        "memory that nodes need, beside Python and torch: r*.s0 6 MiB"
    )


def test_this_machine_has_memory():
    assert 2**28 < room.machine_memory() < 2**50
