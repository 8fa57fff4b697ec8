"""The settings: their schema, how they are composed, and every check that needs neither torch nor data.

Checks that need the model or the data (too few blocks, a missing data root) raise the same
`SettingError` from where those are loaded, before any training.
"""

import hashlib
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tdml.errors import SettingError, one_line


@dataclass
class Topology:
    replicas: int = MISSING
    stages: int = MISSING
    spares: int = MISSING
    microbatches: int | None = None
    schedule: str = MISSING
    chunks: int = MISSING
    cost: str = MISSING
    cuts: list[int] | None = None

    @property
    def world_size(self) -> int:
        """Ranks that the job needs, the coordinator among them."""
        return 1 + self.replicas * self.stages + self.spares

    @property
    def parts(self) -> int:
        """Pieces that the model is cut into: more than the nodes under the interleaved schedule."""
        return self.stages * (self.chunks if self.schedule == "interleaved_1f1b" else 1)


@dataclass
class Sync:
    local_steps: int | None = None
    outer: str = MISSING
    outer_lr: float = MISSING
    outer_momentum: float = MISSING
    deadline: float | None = None
    timeout: float = MISSING


@dataclass
class Trust:
    enabled: bool = MISSING
    screen: str = MISSING
    validators: int = MISSING
    budget: float = MISSING
    conviction: float = MISSING
    thresholds: dict[str, float | None] = field(default_factory=dict)
    audit_rate: float = MISSING
    audit_windows: int = MISSING
    audit_memory: int = MISSING


@dataclass
class IdentitySettings:
    folder: str = MISSING
    roster: str | None = None
    ban_list: str | None = None


@dataclass
class LedgerSettings:
    artifacts: str | None = None


@dataclass
class Rewards:
    policy: str = MISSING
    pool: int = MISSING
    stake: int | None = None


@dataclass
class Train:
    batch_size: int = MISSING
    optimizer: str = MISSING
    lr: float = MISSING
    momentum: float = MISSING
    weight_decay: float = MISSING


@dataclass
class Config:
    """All settings of a job. `model`, `data` and `attack` are open: their `_target_` decides what they take."""

    name: str = MISSING
    seed: int = MISSING
    rounds: int = MISSING
    run_dir: str = MISSING
    resume: bool = MISSING
    device: str = MISSING
    topology: Topology = field(default_factory=Topology)
    sync: Sync = field(default_factory=Sync)
    trust: Trust = field(default_factory=Trust)
    train: Train = field(default_factory=Train)
    identity: IdentitySettings = field(default_factory=IdentitySettings)
    ledger: LedgerSettings = field(default_factory=LedgerSettings)
    rewards: Rewards = field(default_factory=Rewards)
    model: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    attack: dict[str, Any] = field(default_factory=dict)

    @property
    def microbatches(self) -> int:
        """Micro-batches per batch, with the default worked out."""
        if self.topology.microbatches is not None:
            return self.topology.microbatches
        batch = self.train.batch_size
        return next((m for m in range(self.topology.stages, batch) if batch % m == 0), batch)


def load(overrides: list[str]) -> Config:
    """Compose the settings from `conf/` and Hydra overrides, and check them.

    Raises:
        SettingError: an override that cannot be parsed, an unknown setting or choice, a wrong type
            or a value that cannot work.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            composed = compose("config", overrides=overrides)
        merged = OmegaConf.merge(OmegaConf.structured(Config), composed)
        config = OmegaConf.to_object(merged)
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingError(_explain(error)) from error
    assert isinstance(config, Config)
    check(config)
    return config


def to_yaml(config: Config) -> str:
    """The settings as they are written to `config.yaml`."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def fingerprint(config: Config) -> str:
    """Equal on ranks that were started with the same settings, but for what a machine may have of its own."""
    own = {
        "device": "",
        "run_dir": "",
        "data": config.data | {"root": ""},
        "identity": IdentitySettings(""),
        "ledger": LedgerSettings(),
    }
    return hashlib.sha256(to_yaml(replace(config, **own)).encode()).hexdigest()


def from_yaml(path: Path) -> DictConfig:
    """The settings of an earlier run, as plain containers."""
    loaded = OmegaConf.load(path)
    assert isinstance(loaded, DictConfig)
    return loaded


def config_dir() -> Path:
    """`conf/`: beside this file in a wheel, beside the package in a checkout."""
    here = Path(__file__).resolve().parent
    return next(folder for folder in (here / "conf", here.parent / "conf") if folder.is_dir())


def check(config: Config) -> None:
    """Every check that needs the settings alone.

    Raises:
        SettingError: names the setting to change.
    """
    for name, value, least in _lower_bounds(config):
        if value is not None and not (math.isfinite(value) and value >= least):
            raise SettingError(f"{name}={value} must be a number of at least {least}")
    for name, value, choices in _choices(config):
        if value not in choices:
            raise SettingError(f"{name}={value} is unknown: choose one of {', '.join(choices)}")
    _check_microbatches(config)
    _check_cuts(config)
    _check_attackers(config)
    for name in ("budget", "audit_rate"):
        if not 0 <= getattr(config.trust, name) <= 1:
            raise SettingError(f"trust.{name}={getattr(config.trust, name)} must lie between 0 and 1")
    for group in ("model", "data"):
        if not getattr(config, group).get("_target_"):
            raise SettingError(f"{group}._target_ is empty: name the class or function that makes it")


def _lower_bounds(config: Config) -> list[tuple[str, float | None, float]]:
    tiny = 1e-12
    return [
        ("rounds", config.rounds, 1),
        ("seed", config.seed, 0),
        ("topology.replicas", config.topology.replicas, 1),
        ("topology.stages", config.topology.stages, 1),
        ("topology.spares", config.topology.spares, 0),
        ("topology.microbatches", config.topology.microbatches, 1),
        ("topology.chunks", config.topology.chunks, 1),
        ("sync.local_steps", config.sync.local_steps, 1),
        ("sync.outer_lr", config.sync.outer_lr, tiny),
        ("sync.outer_momentum", config.sync.outer_momentum, 0),
        ("sync.deadline", config.sync.deadline, tiny),
        ("sync.timeout", config.sync.timeout, 1),
        ("trust.validators", config.trust.validators, 1),
        ("trust.conviction", config.trust.conviction, 1),
        ("trust.audit_windows", config.trust.audit_windows, 1),
        ("trust.audit_memory", config.trust.audit_memory, 0),
        ("rewards.pool", config.rewards.pool, 0),
        ("rewards.stake", config.rewards.stake, 0),
        ("train.batch_size", config.train.batch_size, 1),
        ("train.lr", config.train.lr, 0),
        ("train.momentum", config.train.momentum, 0),
        ("train.weight_decay", config.train.weight_decay, 0),
        ("data.alpha", _number(config.data.get("alpha"), "data.alpha"), tiny),
        ("attack.from_round", _number(config.attack.get("from_round"), "attack.from_round"), 1),
    ]


def _choices(config: Config) -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        ("topology.schedule", config.topology.schedule, ("gpipe", "1f1b", "interleaved_1f1b")),
        ("topology.cost", config.topology.cost, ("counted", "measured")),
        ("sync.outer", config.sync.outer, ("fedavg", "nesterov")),
        ("trust.screen", config.trust.screen, ("gate", "none")),
        ("rewards.policy", config.rewards.policy, ("work", "equal", "improvement")),
        ("train.optimizer", config.train.optimizer, ("sgd", "adam", "adamw")),
        ("data.partition", config.data.get("partition", "iid"), ("iid", "dirichlet")),
        ("device", config.device, ("auto", "cpu", "cuda")),
    ]


def _number(value: Any, name: str) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise SettingError(f"{name}={value} is not a number")
    return value


def _check_microbatches(config: Config) -> None:
    topology, micro, batch = config.topology, config.microbatches, config.train.batch_size
    if batch % micro:
        raise SettingError(
            f"topology.microbatches={micro} does not divide train.batch_size={batch}: change one of them"
        )
    if topology.schedule != "gpipe" and micro < topology.stages:
        raise SettingError(
            f"topology.microbatches={micro} is less than topology.stages={topology.stages}, which the schedule "
            f"{topology.schedule} needs at least: raise topology.microbatches (train.batch_size={batch} must be a "
            "multiple of it) or take topology.schedule=gpipe"
        )
    if topology.schedule == "interleaved_1f1b" and micro % max(1, micro // topology.stages):
        raise SettingError(
            f"topology.microbatches={micro}: interleaved_1f1b needs a multiple of "
            f"{micro // topology.stages} (microbatches // stages)"
        )


def _check_cuts(config: Config) -> None:
    cuts, parts = config.topology.cuts, config.topology.parts
    if cuts is None:
        return
    if len(cuts) != parts - 1 or sorted(set(cuts)) != list(cuts) or (cuts and cuts[0] < 1):
        raise SettingError(
            f"topology.cuts={list(cuts)} must list {parts - 1} rising block numbers, the first block of each "
            f"of the {parts} stages but the first"
        )


def _check_attackers(config: Config) -> None:
    attack, topology = config.attack, config.topology
    if not attack.get("_target_"):
        return
    if not attack.get("replicas") and not attack.get("nodes"):
        raise SettingError("attack.replicas and attack.nodes are empty: name who attacks, such as attack.replicas=[0]")
    for name in ("replicas", "nodes"):
        if not isinstance(attack.get(name), list):
            raise SettingError(f"attack.{name}={attack.get(name)} must be a list, such as attack.{name}=[…]")
    if attack.get("from_round") is None:
        raise SettingError("attack.from_round is empty: give the first round in which they attack, such as 1")
    share = _number(attack.get("share_of_rounds"), "attack.share_of_rounds")
    if share is None or not 0 < share <= 1:
        raise SettingError(f"attack.share_of_rounds={share} must be more than 0 and at most 1")
    for replica in attack["replicas"]:
        if not isinstance(replica, int) or replica not in range(topology.replicas):
            raise SettingError(
                f"attack.replicas names replica {replica}, but there are {topology.replicas}: "
                f"0 to {topology.replicas - 1} (topology.replicas)"
            )
    for node in attack["nodes"]:
        match = re.fullmatch(r"r(0|[1-9]\d*)\.s(0|[1-9]\d*)", str(node))
        if not match or int(match[1]) >= topology.replicas or int(match[2]) >= topology.stages:
            raise SettingError(
                f"attack.nodes names {node}, but the nodes are r0.s0 to "
                f"r{topology.replicas - 1}.s{topology.stages - 1} (topology.replicas, topology.stages)"
            )


def check_world(topology: Topology, world_size: int) -> None:
    """Raises:
    SettingError: torchrun started another number of ranks than the topology needs.
    """
    if world_size != topology.world_size:
        raise SettingError(
            f"WORLD_SIZE is {world_size}, but {topology.replicas} replicas × {topology.stages} stages + "
            f"1 coordinator + {topology.spares} spares need {topology.world_size}: start torchrun with "
            f"--nproc-per-node {topology.world_size}, or with --nnodes × --nproc-per-node of that product"
        )


def _explain(error: Exception) -> str:
    """Hydra's and OmegaConf's messages in one line, with the setting's name in front."""
    text = one_line(error)
    if match := re.search(
        r"Could not find '(\w+)/([^']*)'.*?Available options in '\w+': (.*?)(?: Config search|$)", text
    ):
        group, choice, available = match.groups()
        return f"{group}={choice} is unknown: choose one of {', '.join(available.split())}"
    if override := getattr(error, "override", None):
        return f"{override}: {text}"
    key = getattr(error, "full_key", None)
    if key and not text.startswith(str(key)):
        text = re.sub(r"\s*full_key: .*$", "", text)
        return f"{key}: {text}"
    return text
