"""Who may take part."""

import pytest

from tdml.cluster.entrance import admit_ranks
from tdml.cluster.lobby import Card
from tdml.config import Topology
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
    [(("one", "other"), "nccl"), (("one", "one"), "gloo"), (("one", ""), "gloo"), (("", ""), "gloo")],
)
def test_nccl_takes_a_gpu_of_its_own_for_every_node(gpus: tuple[str, str], backend: str) -> None:
    cards = [Card("settings", gpu).signed(_KEYS[rank], "session", rank) for rank, gpu in enumerate(("", *gpus))]
    assert admit_ranks(cards, "session", _TOPOLOGY, None, set()).backend == backend


def test_a_ban_list_that_bans_every_node_ends_the_job_at_the_entrance() -> None:
    with pytest.raises(SettingError, match=r"^every node is refused \(r0\.s0: .* banned; r1\.s0: .*identity.ban_list"):
        admit_ranks(_CARDS, "session", _TOPOLOGY, None, {key.public for key in _KEYS[1:]})


def test_a_ban_list_that_bans_the_coordinator_says_so() -> None:
    with pytest.raises(SettingError, match=r"^rank 0, the coordinator, is refused: its key is banned$"):
        admit_ranks(_CARDS, "session", _TOPOLOGY, None, {key.public for key in _KEYS})
