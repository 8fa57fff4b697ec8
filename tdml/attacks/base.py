"""What an attack can do, and what it is told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product

import torch
from torch import nn

from tdml.common.seeds import derive
from tdml.errors import SettingError, cause
from tdml.settings.schema import Topology
from tdml.settings.targets import instantiate, made

_OURS = {
    "replicas",
    "nodes",
    "from_round",
    "share_of_rounds",
}  # settings of the group that say who attacks and when
# what an attack may do
_DEEDS = ("local_steps", "poison_inputs", "poison_labels", "corrupt", "report", "repeat")


@dataclass(frozen=True)
class Knowledge:
    """What an omniscient attacker knows of the honest updates of its stage in this round."""

    mean: torch.Tensor  # (d,) float32
    std: torch.Tensor  # (d,) float32, over the honest replicas, ddof 0
    honest: int  # honest nodes of the stage
    attackers: int  # attacking nodes of the stage, oneself among them
    updates: torch.Tensor | None = None  # (honest, d) float32, for attacks that see every update

    @staticmethod
    def of(updates: torch.Tensor, attackers: int, every: bool) -> "Knowledge":
        """What (h, d) honest updates tell, the updates themselves only if `every`. Of none, mean
        and std are zero."""
        nothing = updates.new_zeros(updates.shape[1])
        mean = updates.mean(dim=0) if updates.numel() else nothing
        std = updates.std(dim=0, correction=0) if updates.numel() else nothing
        return Knowledge(mean, std, len(updates), attackers, updates if every else None)


@dataclass(frozen=True)
class Context:
    """Where and when an attack happens.

    `parameters` is how many of the update's numbers are parameters; buffers follow. `generator` is
    seeded by (job, round, node), `shared` by (job, round, stage): what attackers draw from it they
    have in common. `past` holds the last updates that the node handed in, oldest first; `aggregate`
    is the last change of the global weights of its shard. `friends` are the replicas with attacking
    nodes, its own included. `work` is the share of the round's steps that the node has taken.
    `model` makes the un-split model that the job began with, as every node can.
    """

    round: int
    node: str
    replica: int
    stage: int
    names: tuple[str, ...]  # of the shard's tensors, in their order in the update
    sizes: tuple[int, ...]  # how many numbers each of them has
    parameters: int
    generator: torch.Generator
    shared: torch.Generator
    friends: frozenset[int] = frozenset()
    past: Sequence[torch.Tensor] = ()
    aggregate: torch.Tensor | None = None
    knowledge: Knowledge | None = None
    work: float = 1.0
    model: Callable[[], nn.Module] | None = None


@dataclass(frozen=True)
class Victim:
    """The job that an attack is made on.

    `inputs` (k, …) are samples as the model takes them. `labels` is how many the data has, None if
    it has none, and `outputs` how many the model tells apart. `names` are those of the tensors of
    each stage, and `held` the stages that attackers hold together, for each replica; each by
    itself where a spare may come to any. `honest` are the stages that somebody honest holds, too,
    and `buffered` those with buffers, such as BatchNorm's.
    """

    inputs: torch.Tensor
    labels: int | None
    outputs: int
    names: Sequence[Sequence[str]]
    held: Sequence[frozenset[int]]
    honest: frozenset[int]
    buffered: frozenset[int]

    @property
    def last(self) -> int:
        """The last stage."""
        return len(self.names) - 1

    def has_together(self, *stages: int) -> bool:
        """Whether attackers hold all of these stages of a replica."""
        return any(held.issuperset(stages) for held in self.held)


class Attack:
    """The base class does no harm: override what the attack does."""

    omniscient = False  # whether `corrupt` needs `context.knowledge`
    sees_updates = False  # whether it needs `context.knowledge.updates` too

    def check(self, victim: Victim) -> None:
        """Whether the job is one that it can be made on.

        Raises:
            SettingError: it is not, or the attackers are where it does nothing.
        """

    def local_steps(self, steps: int, context: Context) -> int:
        """How many of the round's `steps` the node takes; at least one is taken.

        All stages of a pipeline must agree on it, so it may depend on the round and the replica,
        not on the stage, and it is asked only where every node of the replica attacks: the others
        would wait forever.
        """
        return steps

    def poison_inputs(self, inputs: torch.Tensor, context: Context) -> torch.Tensor:
        """The inputs that a batch is trained on: (batch, …) → the same. Called where the inputs
        are: at the first stage."""
        return inputs

    def poison_labels(self, labels: torch.Tensor, context: Context) -> torch.Tensor:
        """The targets that a batch is trained on, such as labels: (batch, …) → the same. Called
        where they are: at the last stage."""
        return labels

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        """The update that the node commits to in place of its own: (d,) float32 → (d,) float32."""
        return update

    def report(self, losses: torch.Tensor, candidate: int | None, context: Context) -> torch.Tensor:
        """What the node reports as a validator: (k,) float32 losses of a candidate replica's
        weights → the same.

        `candidate` is None for the weights that the round started from. Called at the last stage,
        in cross-checks only.
        """
        return losses

    def repeat(self, end: torch.Tensor, candidate: int, context: Context) -> torch.Tensor:
        """What the node reports as the end of a window of a candidate replica's steps that it took
        again, in an audit: (size,) float32 → the same."""
        return end


def known(context: Context) -> Knowledge:
    """What an omniscient attack has been told."""
    assert context.knowledge is not None, "an omniscient attack is always told"
    return context.knowledge


def acts(settings: dict, seed: int, round_number: int) -> bool:
    """Whether the attackers act in a round: from `from_round` on, in `share_of_rounds` of the
    rounds, all together."""
    if round_number < settings["from_round"]:
        return False
    draw = torch.Generator().manual_seed(derive(seed, "attack in round", round_number))
    return float(torch.rand((), generator=draw)) < settings["share_of_rounds"]


def attackers(settings: dict, stages: int) -> frozenset[str]:
    """The names of the attacking nodes."""
    if not settings.get("_target_"):
        return frozenset()
    whole = {f"r{replica}.s{stage}" for replica in settings["replicas"] for stage in range(stages)}
    return frozenset(whole | set(settings["nodes"]))


def held_stages(settings: dict, stages: int) -> list[frozenset[int]]:
    """The stages that attackers hold, of each replica with some; a spare may come to any, but to
    one alone."""
    names = attackers(settings, stages)
    held: dict[str, set[int]] = {}
    for replica, at_slot, stage in (name.partition(".s") for name in names):
        if at_slot:
            held.setdefault(replica, set()).add(int(stage))
    spares = any(".s" not in name for name in names)
    return [
        *map(frozenset, held.values()),
        *(frozenset({stage}) for stage in range(stages) if spares),
    ]


def honest_stages(settings: dict, topology: Topology) -> frozenset[int]:
    """The stages that somebody honest holds: in replicas that may come later, too."""
    names = attackers(settings, topology.stages)
    slots = product(range(topology.most), range(topology.stages))
    return frozenset(stage for replica, stage in slots if f"r{replica}.s{stage}" not in names)


def check_attack(settings: dict, victim: Victim) -> None:
    """Whether the attack that the settings name does something in a job.

    Raises:
        SettingError: it does not, or cannot be made.
    """
    attack = make_attack(settings)
    made("attack", settings["_target_"], attack.check, victim)
    if attack.omniscient and not any(victim.honest & held for held in victim.held):
        raise SettingError(
            f"attack._target_={settings['_target_']} goes by what honest nodes hand in, and none "
            "is where the attackers are: name fewer in attack.replicas or attack.nodes, or take "
            "more topology.replicas"
        )


def make_attack(settings: dict) -> Attack:
    """The attack that the settings name.

    Raises:
        SettingError: the class cannot be found, refuses the settings or is no `Attack`.
    """
    try:
        attack = instantiate({key: value for key, value in settings.items() if key not in _OURS})
    except SettingError:
        raise
    except Exception as error:
        raise SettingError(
            f"attack._target_={settings['_target_']} cannot be made: {cause(error, 'attack')}"
        ) from error
    if not isinstance(attack, Attack):
        raise SettingError(
            f"attack._target_={settings['_target_']} must be a subclass of tdml.attacks.Attack"
        )
    own = [name for name, value in vars(type(attack)).items() if callable(value) and name[0] != "_"]
    if own and all(getattr(type(attack), deed) is getattr(Attack, deed) for deed in _DEEDS):
        raise SettingError(
            f"attack._target_={settings['_target_']} does nothing: it has {', '.join(own)}, and "
            f"none of {', '.join(_DEEDS)}"
        )
    for name in own:
        if (near := get_close_matches(name, _DEEDS, 1, 0.8)) and name not in _DEEDS:
            raise SettingError(
                f"attack._target_={settings['_target_']} has {name}, which nobody calls: is it "
                f"{near[0]}? If not, give it a name that begins with _"
            )
    return attack
