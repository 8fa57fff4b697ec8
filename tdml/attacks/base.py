"""What an attack can do, and what it is told."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from hydra.utils import instantiate

from tdml.errors import SettingError, one_line

_OURS = {"replicas", "nodes", "from_round"}  # settings of the group that say who attacks and when


@dataclass(frozen=True)
class Knowledge:
    """What an omniscient attacker knows of the honest updates of its stage in this round."""

    mean: torch.Tensor  # (d,) float32
    std: torch.Tensor  # (d,) float32, over the honest replicas, ddof 0
    honest: int  # honest replicas
    attackers: int  # attacking replicas


@dataclass(frozen=True)
class Context:
    """Where and when an attack happens.

    `parameters` is how many of the update's numbers are parameters; buffers follow. `generator` is seeded
    by (job, round, node). `past` holds the node's own earlier updates, oldest first.
    """

    round: int
    node: str
    replica: int
    stage: int
    names: tuple[str, ...]  # of the shard's tensors, in their order in the update
    parameters: int
    generator: torch.Generator
    past: Sequence[torch.Tensor] = ()
    knowledge: Knowledge | None = field(default=None)


class Attack:
    """The base class does no harm: override what the attack does."""

    omniscient = False  # whether `corrupt` needs `context.knowledge`

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        """The update that the node commits to in place of its own: (d,) float32 → (d,) float32."""
        return update

    def poison_labels(self, labels: torch.Tensor, context: Context) -> torch.Tensor:
        """The labels that a batch is trained on: (batch,) int64 → the same. Called where the labels are: at the
        last stage."""
        return labels


def attackers(settings: dict, replicas: int, stages: int) -> frozenset[str]:
    """The names of the attacking nodes."""
    if not settings.get("_target_"):
        return frozenset()
    whole = {f"r{replica}.s{stage}" for replica in settings["replicas"] for stage in range(stages)}
    assert all(replica < replicas for replica in settings["replicas"])
    return frozenset(whole | set(settings["nodes"]))


def make_attack(settings: dict) -> Attack:
    """The attack that the settings name.

    Raises:
        SettingError: the class cannot be found, does not accept the settings or is no `Attack`.
    """
    try:
        attack = instantiate({key: value for key, value in settings.items() if key not in _OURS})
    except Exception as error:
        raise SettingError(f"attack._target_={settings['_target_']} cannot be made: {one_line(error)}") from error
    if not isinstance(attack, Attack):
        raise SettingError(f"attack._target_={settings['_target_']} must be a subclass of tdml.attacks.Attack")
    return attack
