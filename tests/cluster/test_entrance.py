"""Who may take part."""

from dataclasses import replace

import pytest

from tdml.cluster.entrance import admit_ranks
from tdml.cluster.lobby import Card
from tdml.config import Topology
from tdml.data.contents import Contents
from tdml.errors import SettingError
from tdml.identity import Identity

_TOPOLOGY = Topology(replicas=2, stages=1, spares=0)
_KEYS = [Identity.new() for _ in range(3)]
_CARDS = [Card("settings", gpu="").signed(key, "session", rank) for rank, key in enumerate(_KEYS)]


def test_banned_nodes_stay_outside_and_the_others_go_on() -> None:
    admission = admit_ranks(_CARDS, "session", _TOPOLOGY, None, {_KEYS[1].public})
    assert (admission.members, admission.backend) == ((0, 2), "gloo")
    assert admission.refused == {1: "its key is banned"}


@pytest.mark.parametrize(
    ("gpus", "backend"),
    [
        (("one", "other"), "nccl"),
        (("one", "one"), "gloo"),
        (("one", ""), "gloo"),
        (("", ""), "gloo"),
    ],
)
def test_nccl_takes_a_gpu_of_its_own_for_every_node(gpus: tuple[str, str], backend: str) -> None:
    cards = [
        Card("settings", gpu).signed(_KEYS[rank], "session", rank)
        for rank, gpu in enumerate(("", *gpus))
    ]
    assert admit_ranks(cards, "session", _TOPOLOGY, None, set()).backend == backend


def test_a_ban_list_that_bans_every_node_ends_the_job_at_the_entrance() -> None:
    with pytest.raises(
        SettingError,
        match=r"^every node is refused \(r0\.s0: .* banned; r1\.s0: .*identity.ban_list",
    ):
        admit_ranks(_CARDS, "session", _TOPOLOGY, None, {key.public for key in _KEYS[1:]})


def test_a_ban_list_that_bans_the_coordinator_says_so() -> None:
    with pytest.raises(
        SettingError, match=r"^rank 0, the coordinator, is refused: its key is banned$"
    ):
        admit_ranks(_CARDS, "session", _TOPOLOGY, None, {key.public for key in _KEYS})


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (
            Contents(9, 4, "a", "b", "c", "d"),
            r"^data: the training samples \(9 and 10\) of rank 2 and rank 0 differ: ",
        ),
        (
            Contents(10, 4, "a", "B", "c", "d"),
            "^data: the test labels of rank 2 and rank 0 differ: every rank must ",
        ),
        (
            Contents(10, 4, "a", "b", "C", "d"),
            "^data: the training inputs of rank 2 and rank 0 differ: ",
        ),
    ],
)
def test_a_rank_with_other_data_ends_the_job_at_the_entrance(
    theirs: Contents, message: str
) -> None:
    ours = Contents(10, 4, "a", "b", "c", "d")
    held = (ours, None, theirs)  # the second rank reads none
    cards = [
        Card("settings", "", data).signed(_KEYS[rank], "session", rank)
        for rank, data in enumerate(held)
    ]
    with pytest.raises(SettingError, match=message):
        admit_ranks(cards, "session", _TOPOLOGY, None, set())
    assert admit_ranks(cards, "session", _TOPOLOGY, None, {_KEYS[2].public}).members == (0, 1)


def test_nobody_can_speak_of_the_data_of_another_rank() -> None:
    card = Card("settings", "", Contents(1, 1, "a", "b", "c", "d")).signed(_KEYS[1], "session", 1)
    assert card.is_signed("session", 1)
    assert not replace(card, data=None).is_signed("session", 1)


def test_a_rank_with_other_settings_ends_the_job_and_they_are_named() -> None:
    other = Card("many 1\nseed 2\n" + "x" * 10_000, gpu="").signed(_KEYS[1], "session", 1)
    own = [
        Card("many 1\nseed 1", gpu="").signed(key, "session", rank)
        for rank, key in enumerate(_KEYS)
    ]
    with pytest.raises(
        SettingError,
        match=r"^rank 1 was started with other settings than rank 0 \(seed, xxx+\): give",
    ) as e:
        admit_ranks([own[0], other, own[2]], "session", _TOPOLOGY, None, set())
    assert len(str(e.value)) < 500
    assert "${now:…}" in str(e.value)
