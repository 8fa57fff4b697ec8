"""The cases of `tdml bench detection`: what a case is, and which of them make a grid."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product

from tdml.bench.byzfl_rules import RULES
from tdml.config import config_dir

CLEAN = "none"
SETTINGS = {
    "digits-mlp": ["data=digits", "data.size=8", "model=mlp", "model.features=192", "model.hidden=64", "model.depth=2"],
    "digits-cnn": ["data=digits", "data.size=16", "model=cnn", "model.width=16"],
    "cifar-cnn": ["data=cifar10", "model=cnn", "model.width=16"],
}
# Attacks with other settings than those of their file.
VARIANTS = {
    "replay+noise": ["attack=replay", "attack.noise=1"],
    "copy_aggregate+noise": ["attack=copy_aggregate", "attack.noise=1"],
    "ipm+jitter": ["attack=ipm", "attack.jitter=1"],
    "garbage+huge": ["attack=garbage", "attack.kind=huge"],
    "garbage+shape": ["attack=garbage", "attack.kind=shape"],
}
GRIDS = ("quick", "bar", "yardsticks", "budget", "nodes", "full")
_NEVER_ALONE = ("half_work", "backdoor")  # attacks that a single node of a pipeline cannot carry out
_LAST_STAGE = ("label_flip", "lying_validator", "collusion")  # where the labels are, and the testimony
_SMALL_BATCH = 8  # where there are too many replicas for 32


@dataclass(frozen=True)
class Case:
    """One run. The attackers are the last f replicas; with `single_node`, one node of each of them."""

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
    stages: int = 1
    single_node: bool = False
    root: str = ""  # of CIFAR-10
    extra: tuple[str, ...] = ()  # more settings

    @property
    def key(self) -> str:
        """What tells it from all other cases, wherever the data lie."""
        return "|".join(f"{name}={value}" for name, value in asdict(self).items() if name != "root" and value != ())

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
            f"data.partition={self.partition}", f"data.alpha={self.alpha}",
        ]  # fmt: skip
        if self.replicas > 32 and self.setting.startswith("digits"):
            given.append(f"train.batch_size={_SMALL_BATCH}")
        if self.stages > 2 and self.setting == "digits-mlp":
            given.append("model.depth=4")  # a block for every stage
        if self.root and self.setting.startswith("cifar"):
            given.append(f"data.root={self.root}")
        if self.attack == CLEAN or not self.attackers:
            return [*given, *(setting for setting in self.extra if not setting.lstrip("+~").startswith("attack"))]
        names = [f"r{replica}.s{self.attacking_stage}" for replica in self.attacking]
        who = f"attack.nodes=[{','.join(names)}]" if self.single_node else f"attack.replicas={self.attacking}"
        given += VARIANTS.get(self.attack, [f"attack={self.attack}"])
        return [*given, who.replace(" ", ""), f"attack.share_of_rounds={self.share_of_rounds}", *self.extra]


def attack_names() -> list[str]:
    """Every attack in conf/attack, and the variants."""
    files = [path.stem for path in (config_dir() / "attack").glob("*.yaml")]
    return sorted([*(name for name in files if name != CLEAN), *VARIANTS])


def grid(name: str, root: str | None) -> list[Case]:
    """The cases of one of `GRIDS`, those of CIFAR-10 only if its folder `root` is given."""
    cases = list(dict.fromkeys(_GRIDS[name]()))
    if name == "full" and root:
        cases += [replace(case, setting="cifar-cnn") for case in cases if case.setting == "digits-cnn"]
    return cases


def narrowed(cases: Sequence[Case], chosen: dict[str, Sequence]) -> list[Case]:
    """The cases that have one of the chosen values of each field, and the clean cases that they are compared with."""
    kept = {case for case in cases if all(getattr(case, name) in values for name, values in chosen.items())}
    compared = {_without_attack(case) for case in kept}
    return [case for case in cases if case in kept or (case.attack == CLEAN and _without_attack(case) in compared)]


def _without_attack(case: Case) -> Case:
    return replace(case, attack=CLEAN, attackers=0, rounds=0, single_node=False, share_of_rounds=1.0)


def _quick() -> Iterator[Case]:
    base = Case("digits-mlp", 8, 2, 1, CLEAN, "tdml", 0, 15)
    yield replace(base, attackers=0, rounds=20)
    yield replace(base, attackers=0, rounds=20, steps=10)
    yield replace(base, attackers=0, rounds=20, partition="dirichlet", alpha=0.1)
    for attack in attack_names():
        yield replace(base, attack=attack)
    for attack in ("sign_flip", "label_flip", "alie", "replay", "honest_noise"):
        yield replace(base, attack=attack, steps=10)


def _bar() -> Iterator[Case]:
    base = Case("digits-mlp", 8, 0, 1, CLEAN, "tdml", 0, 50)
    for steps, seed in product((1, 10), range(3)):
        for replicas, kind in product((4, 8, 16), (("iid", 0.5), ("dirichlet", 0.1))):
            yield replace(base, replicas=replicas, steps=steps, seed=seed, partition=kind[0], alpha=kind[1])
    for attack, steps, attackers, seed in product(attack_names(), (1, 10), (1, 2, 3), range(3)):
        yield replace(base, attack=attack, attackers=attackers, steps=steps, seed=seed, rounds=30)


def _yardsticks() -> Iterator[Case]:
    defences = ("none", "mandera", "screen", "tdml", "tdml-budget", "tdml-audits", *RULES)
    base = Case("digits-mlp", 8, 0, 1, CLEAN, "tdml", 0, 30)
    for steps, defence, seed in product((1, 10), defences, range(3)):
        yield replace(base, steps=steps, defence=defence, seed=seed)
        for attack in attack_names():
            yield replace(base, attackers=2, attack=attack, steps=steps, defence=defence, seed=seed)


def _budget() -> Iterator[Case]:
    base = Case("digits-mlp", 8, 0, 1, CLEAN, "tdml", 0, 50)
    for defence, steps, seed in product(("tdml-budget", "tdml-audits"), (1, 10), range(3)):
        yield replace(base, defence=defence, steps=steps, seed=seed)
        for attack in attack_names():
            yield replace(base, attackers=2, attack=attack, steps=steps, seed=seed, defence=defence)


def _nodes() -> Iterator[Case]:
    base = Case("digits-mlp", 8, 0, 1, CLEAN, "tdml", 0, 30)
    for stages, steps, seed in product((2, 4), (1, 10), range(3)):
        yield replace(base, stages=stages, steps=steps, seed=seed)
        for attack in attack_names():
            if attack not in _NEVER_ALONE:
                yield replace(base, attackers=1, attack=attack, stages=stages, steps=steps, seed=seed, single_node=True)


def _full() -> Iterator[Case]:
    kinds = (("iid", 0.5), ("dirichlet", 0.1), ("dirichlet", 0.5))
    for setting, replicas, kind, steps, seed in product(
        ("digits-mlp", "digits-cnn"), (2, 3, 4, 8, 16, 100), kinds, (1, 10, None), range(3)
    ):
        base = Case(setting, replicas, 0, steps, CLEAN, "tdml", seed, 50, *kind)
        yield base
        most = max(1, (replicas - 1) // 2)  # of two, one word stands against another
        counts = range(1, most + 1) if replicas <= 8 else sorted({1, replicas // 4, most})
        for attackers, attack in product(counts, attack_names()):
            yield replace(base, attackers=attackers, attack=attack, rounds=30)


_GRIDS = {"quick": _quick, "bar": _bar, "yardsticks": _yardsticks, "budget": _budget, "nodes": _nodes, "full": _full}
