"""The cases of `tdml bench detection`: what a case is, and which of them make a grid."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from tdml.config import config_dir
from tdml.lab.models import LANGUAGE, SETTINGS
from tdml.lab.yardsticks import NAMES as YARDSTICKS
from tdml.lab.yardsticks import settings_of

CLEAN = "none"
ABSENT = "absent"  # the attackers are banned by their first message, before they do anything
# Attacks with other settings than those of their file.
VARIANTS = {
    "replay+noise": ["attack=replay", "attack.noise=1"],
    "copy_aggregate+noise": ["attack=copy_aggregate", "attack.noise=1"],
    "ipm+jitter": ["attack=ipm", "attack.jitter=1"],
    "garbage+huge": ["attack=garbage", "attack.kind=huge"],
    "garbage+shape": ["attack=garbage", "attack.kind=shape"],
}
DEFENCES = ("tdml", "tdml-no-audits", *YARDSTICKS)
# attacks that a single node of a pipeline cannot carry out
_NEVER_ALONE = ("half_work", "backdoor")
_ON_CLASSES = ("backdoor", "label_flip")  # attacks on images and their labels
_ON_LANGUAGE = ("stage_backdoor",)
_ON_BUFFERS = ("buffer_poison",)
_WITH_BUFFERS = ("digits-cnn", "cifar-cnn")
# where the labels are, and the losses that are reported
_LAST_STAGE = ("label_flip", "lying_validator", "collusion")
_LONG = 110  # steps of a round for which half of the budget pays for a work test
_SMALL_BATCH = 8  # where there are too many replicas for 32


@dataclass(frozen=True)
class Case:
    """One run. The attackers are the last f replicas; with `single_node`, one node of each of
    them."""

    setting: str
    replicas: int
    attackers: int
    steps: int | None  # of a round; None: one epoch
    attack: str
    defence: str
    seed: int
    rounds: int
    partition: str = "iid"
    alpha: float = 0.5
    share_of_rounds: float = 1.0
    # of the attack: from a common start all honest updates point one way, which flatters every rule
    from_round: int = 1
    stages: int = 1
    single_node: bool = False
    root: str = ""  # of CIFAR-10
    extra: tuple[str, ...] = ()  # more settings

    @property
    def key(self) -> str:
        """What tells it from all other cases, wherever the data lie."""
        return "|".join(
            f"{name}={value}"
            for name, value in asdict(self).items()
            if name != "root" and value != ()
        )

    @property
    def attacking(self) -> list[int]:
        """The attacking replicas."""
        return list(range(self.replicas - self.attackers, self.replicas))

    @property
    def attacking_stage(self) -> int:
        """Where the attacking node sits, with `single_node`."""
        return self.stages - 1 if self.attack in _LAST_STAGE else self.seed % self.stages

    def overrides(self) -> list[str]:
        """Its settings, as for `tdml train`."""
        given = [
            *SETTINGS[self.setting],
            f"topology.replicas={self.replicas}", f"topology.stages={self.stages}",
            f"sync.local_steps={'null' if self.steps is None else self.steps}",
            f"seed={self.seed}", f"rounds={self.rounds}", "device=cpu",
            f"data.partition={self.partition}",
        ]  # fmt: skip
        given += [f"data.alpha={self.alpha}"] if self.setting not in LANGUAGE else []
        given += settings_of(self.defence)
        given += ["trust.budget=0"] if self.defence == "tdml-no-audits" else []
        if self.setting in LANGUAGE:
            given.append(f"train.batch_size={_SMALL_BATCH}")
        if self.replicas > 32 and self.setting.startswith("digits"):
            given.append(f"train.batch_size={_SMALL_BATCH}")
        if self.stages > 2 and self.setting == "digits-mlp":
            given.append("model.depth=4")  # a block for every stage
        if self.root and self.setting.startswith("cifar"):
            given.append(f"data.root={self.root}")
        extra = [more for more in self.extra if not more.lstrip("+~").startswith("attack")]
        if self.attack == CLEAN or not self.attackers:
            return [*given, *extra]
        if self.attack == ABSENT:
            gone = ["attack=garbage", "attack.kind=shape", f"attack.replicas={self.attacking}"]
            return [*given, *(setting.replace(" ", "") for setting in gone), *extra]
        names = [f"r{replica}.s{self.attacking_stage}" for replica in self.attacking]
        who = (
            f"attack.nodes=[{','.join(names)}]"
            if self.single_node
            else f"attack.replicas={self.attacking}"
        )
        given += VARIANTS.get(self.attack, [f"attack={self.attack}"])
        when = [
            f"attack.share_of_rounds={self.share_of_rounds}",
            f"attack.from_round={self.from_round}",
        ]
        return [*given, who.replace(" ", ""), *when, *self.extra]


def attack_names(setting: str = "digits-mlp") -> list[str]:
    """Every attack in conf/attack that can be made on a setting's models, and the variants."""
    others = _ON_CLASSES if setting in LANGUAGE else _ON_LANGUAGE
    without = () if setting in _WITH_BUFFERS else _ON_BUFFERS
    files = [path.stem for path in (config_dir() / "attack").glob("*.yaml")]
    return sorted([*(name for name in files if name not in (CLEAN, *others, *without)), *VARIANTS])


def grid(name: str, root: str | None) -> list[Case]:
    """The cases of one of `GRIDS`, those of CIFAR-10 only if its folder `root` is given."""
    cases = list(dict.fromkeys(GRIDS[name]()))
    if name in ("full", "clean") and root:
        cases += [
            replace(case, setting="cifar-cnn") for case in cases if case.setting == "digits-cnn"
        ]
    return cases


def narrowed(cases: Sequence[Case], chosen: dict[str, Sequence]) -> list[Case]:
    """The cases that have one of the chosen values of each field, and those that they are compared
    with: the clean ones, and those in which the attackers are absent."""
    kept = {
        case
        for case in cases
        if all(getattr(case, name) in values for name, values in chosen.items())
    }
    compared = {_without_attack(case) for case in kept}
    absent = {_absent(case) for case in kept}
    return [
        case
        for case in cases
        if case in kept
        or case in absent
        or (case.attack == CLEAN and _without_attack(case) in compared)
    ]


def _without_attack(case: Case) -> Case:
    return replace(
        case,
        attack=CLEAN,
        attackers=0,
        rounds=0,
        single_node=False,
        share_of_rounds=1.0,
        from_round=1,
    )


def _base(**fields: Any) -> Case:
    return replace(Case("digits-mlp", 8, 0, 10, CLEAN, "tdml", 0, 20), **fields)


def _late(**fields: object) -> Case:
    """Attackers that start late."""
    return _base(**{"attackers": 2, "from_round": 8} | fields)


def _absent(case: Case) -> Case:
    """The run that a case under attack is held against."""
    return replace(case, attack=ABSENT, from_round=1)


def _quick() -> Iterator[Case]:
    yield _absent(_late())
    for steps, kind in product((1, 10), _KINDS):
        yield _base(steps=steps, **kind)
    for attack in attack_names():
        yield _late(attack=attack)


def _bar(setting: str = "digits-mlp") -> Iterator[Case]:
    for replicas, steps, kind, seed in product((3, 4, 8, 16), (1, 10, None), _KINDS, range(3)):
        yield _base(setting=setting, replicas=replicas, steps=steps, seed=seed, **kind)
    for steps, attackers, kind, seed in product((1, 10), (2, 3), _KINDS, range(3)):
        shared = _late(setting=setting, attackers=attackers, steps=steps, seed=seed, **kind)
        yield _absent(shared)
        yield from (replace(shared, attack=attack) for attack in attack_names(setting))


def _clean() -> Iterator[Case]:
    """Clean runs beside the plain mean's, of short rounds and of such in which the work test pays;
    and what a late backdoor leaves beside those."""
    for setting, kind, seed in product(("digits-mlp", "digits-cnn"), _KINDS, range(3)):
        shared = _base(setting=setting, seed=seed, **kind)
        yield from (shared, replace(shared, defence="none"))
        yield replace(shared, attack="backdoor", attackers=2, from_round=8)
    for defence, seed in product(("tdml", "none"), range(3)):
        yield _base(defence=defence, steps=_LONG, seed=seed)


def _yardsticks() -> Iterator[Case]:
    for defence, steps, seed in product(DEFENCES, (1, 10), range(3)):
        yield _base(defence=defence, steps=steps, seed=seed)
        for attack in attack_names():
            yield _late(attack=attack, defence=defence, steps=steps, seed=seed)


def _few() -> Iterator[Case]:
    """Two and three replicas with one liar, and four with three."""
    for (replicas, attackers), seed in product(((2, 1), (3, 1), (4, 3)), range(3)):
        shared = _base(replicas=replicas, attackers=attackers, seed=seed, rounds=30)
        yield _absent(shared)
        yield from (replace(shared, attack=attack) for attack in attack_names())


def _nodes() -> Iterator[Case]:
    for stages, steps, seed in product((2, 4), (1, 10), range(3)):
        yield _base(stages=stages, steps=steps, seed=seed)
        for attack in attack_names():
            if attack not in _NEVER_ALONE:
                yield _late(
                    attack=attack,
                    attackers=1,
                    stages=stages,
                    steps=steps,
                    seed=seed,
                    single_node=True,
                )


def _language() -> Iterator[Case]:
    """Language models whole and in two stages, with one attacking replica or node, on shares that
    are alike and where each replica has documents of its own."""
    for setting, partition, seed in product(LANGUAGE, ("iid", "contiguous"), range(3)):
        base = _base(setting=setting, partition=partition, replicas=4, rounds=8, seed=seed)
        whole = replace(base, attackers=1, from_round=3)
        in_two = replace(whole, stages=2, single_node=True)
        yield base
        yield replace(base, stages=2)
        for shared in (whole, in_two):
            yield _absent(shared)
            for attack in attack_names(setting):
                if not (shared.single_node and attack in _NEVER_ALONE):
                    yield replace(shared, attack=attack)


def _full() -> Iterator[Case]:
    yield from _bar()
    yield from _bar("digits-cnn")
    yield from _few()
    yield from _nodes()
    yield from _yardsticks()


_KINDS: tuple[dict[str, Any], ...] = (  # of shares
    {"partition": "iid", "alpha": 0.5},
    {"partition": "dirichlet", "alpha": 0.1},
)
GRIDS = {
    "quick": _quick,
    "bar": _bar,
    "clean": _clean,
    "yardsticks": _yardsticks,
    "few": _few,
    "nodes": _nodes,
    "language": _language,
    "full": _full,
}
