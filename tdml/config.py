"""The settings: their schema, and how they are composed."""

import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from tdml.errors import SettingError, one_line
from tdml.settings.checks import check
from tdml.settings.overrides import SEARCH_PATH, check_overrides, explain, open_targets

# of the group `train`: names, or a `_target_` with its own arguments
_TARGETS = ("optimizer", "schedule")


@dataclass
class Topology:
    replicas: int = MISSING
    min_replicas: int | None = None
    max_replicas: int | None = None
    stages: int = MISSING
    spares: int = MISSING
    microbatches: int | None = None
    schedule: str = MISSING
    chunks: int = MISSING
    cost: str = MISSING
    cuts: list[int] | None = None

    @property
    def world_size(self) -> int:
        """Ranks that the job is set to have, the coordinator among them."""
        return 1 + self.replicas * self.stages + self.spares

    @property
    def least_world_size(self) -> int:
        """Ranks that the job may start with."""
        return self.world_size if self.min_replicas is None else 1 + self.fewest * self.stages

    @property
    def fewest(self) -> int:
        """Replicas that the job may start with."""
        return self.replicas if self.min_replicas is None else self.min_replicas

    @property
    def most(self) -> int:
        """Replicas that the job may grow to: as many have a share of the data."""
        return self.replicas if self.max_replicas is None else self.max_replicas

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
    balance: bool = MISSING
    timeout: float = MISSING
    patience: float = MISSING


@dataclass
class GatherSettings:
    memory: int = MISSING


@dataclass
class CheckpointSettings:
    memory: int = MISSING


@dataclass
class Trust:
    enabled: bool = MISSING
    budget: float = MISSING
    audit_windows: int = MISSING
    audit_memory: int = MISSING
    repeatable: str = MISSING
    rollback: str = MISSING


@dataclass
class IdentitySettings:
    folder: str = MISSING
    roster: str | None = None
    ban_list: str | None = None


@dataclass
class LedgerSettings:
    artifacts: str | None = None


@dataclass
class RewardsSettings:
    policy: str = MISSING
    pool: int = MISSING
    stake: int | None = None


@dataclass
class Train:
    batch_size: int = MISSING
    accumulate: int = MISSING
    optimizer: dict[str, Any] = field(default_factory=dict)
    lr: float = MISSING
    momentum: float = MISSING
    weight_decay: float = MISSING
    decay_norms_and_biases: bool = MISSING
    schedule: dict[str, Any] = field(default_factory=dict)
    warmup: int = MISSING
    clip_norm: float | None = None
    label_smoothing: float = MISSING
    precision: str = MISSING
    channels_last: bool = MISSING
    activation_checkpointing: bool = MISSING
    patience: int | None = None

    @property
    def effective_batch_size(self) -> int:
        """Samples of one optimizer step of a replica."""
        return self.batch_size * self.accumulate


@dataclass
class MonitorSettings:
    best: bool = MISSING


@dataclass
class Config:
    """All settings of a job. `model`, `data`, `task` and `attack` are open: their `_target_`
    decides what they take."""

    name: str = MISSING
    seed: int = MISSING
    rounds: int = MISSING
    run_dir: str = MISSING
    resume: Any = MISSING  # False, True or "auto"
    device: str = MISSING
    topology: Topology = field(default_factory=Topology)
    sync: Sync = field(default_factory=Sync)
    gather: GatherSettings = field(default_factory=GatherSettings)
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)
    trust: Trust = field(default_factory=Trust)
    train: Train = field(default_factory=Train)
    monitor: MonitorSettings = field(default_factory=MonitorSettings)
    identity: IdentitySettings = field(default_factory=IdentitySettings)
    ledger: LedgerSettings = field(default_factory=LedgerSettings)
    rewards: RewardsSettings = field(default_factory=RewardsSettings)
    model: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    attack: dict[str, Any] = field(default_factory=dict)

    @property
    def validates(self) -> bool:
        """Whether it is measured on the validation half in every round."""
        return self.monitor.best or self.train.patience is not None

    @property
    def microbatches(self) -> int:
        """Micro-batches per optimizer step; the fewest that fill the pipeline where
        `topology.microbatches` is null."""
        batch, accumulate, chosen = (
            self.train.batch_size,
            self.train.accumulate,
            self.topology.microbatches,
        )
        least = math.ceil(self.topology.stages / accumulate)
        return accumulate * (
            chosen or next((m for m in range(least, batch) if batch % m == 0), batch)
        )


def load(overrides: Sequence[str]) -> Config:
    """Compose the settings from `conf/` and Hydra overrides, and check them. Interpolations are
    resolved.

    Raises:
        SettingError: an override that cannot be parsed, an unknown setting or choice, a wrong type
            or a value that cannot work.
    """
    GlobalHydra.instance().clear()
    try:
        check_overrides(overrides, _groups())
        opened = open_targets(overrides, [f"train.{name}" for name in _TARGETS])
        with (
            initialize_config_dir(str(config_dir()), version_base="1.3"),
            warnings.catch_warnings(),
        ):
            # a folder that is not there
            warnings.filterwarnings("error", f"provider={SEARCH_PATH}")
            composed = compose("config", overrides=opened, return_hydra_config=True)
        for folder in OmegaConf.select(composed, SEARCH_PATH):
            _check_own_folder(folder)
        with open_dict(composed):
            del composed["hydra"]
        _spell_out(composed.get("train", {}))
        merged = OmegaConf.merge(OmegaConf.structured(Config), composed)
        config = OmegaConf.to_object(merged)
    except UserWarning as warning:
        raise SettingError(f"{SEARCH_PATH}: {one_line(warning).partition('path=')[2]}") from warning
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingError(explain(error, _names())) from error
    assert isinstance(config, Config)
    check(config)
    return config


def config_dir() -> Path:
    """`conf/`: beside this file in a wheel, beside the package in a checkout."""
    here = Path(__file__).resolve().parent
    return next(folder for folder in (here / "conf", here.parent / "conf") if folder.is_dir())


def see_own_classes() -> None:
    """The user's, in the current folder, as `python -m` has it. Not for commands that look at
    others' folders."""
    sys.path.insert(0, str(Path.cwd()))


def check_world(topology: Topology, world_size: int, resume: bool) -> None:
    """Check that torchrun has started as many ranks as the topology needs. Fewer will do where it
    allows for that, and where a run is resumed: the nodes that have outlived their coordinator come
    by themselves.

    Raises:
        SettingError: it has not.
    """
    most, least = topology.world_size, 1 if resume else topology.least_world_size
    if world_size > most or world_size < least:
        fewer = "" if least in (1, most) else f" (or from {least} on: topology.min_replicas)"
        raise SettingError(
            f"WORLD_SIZE is {world_size}, but {topology.replicas} replicas × {topology.stages} "
            f"stages + 1 coordinator + {topology.spares} spares need {most}{fewer}: start "
            f"torchrun with --nproc-per-node {most}, or with --nnodes × --nproc-per-node of that "
            "product"
        )


def _check_own_folder(folder: str) -> None:
    """Check that nothing in a folder of the user's is hidden by a file of ours: ours are found
    first."""
    for ours in sorted(config_dir().rglob("*.yaml")):
        name = ours.relative_to(config_dir())
        file = folder.removeprefix("file://") / name
        if file.exists() and not file.samefile(ours):
            instead = (
                "give it another name"
                if name.parent.name
                else "put what you change into experiment/NAME.yaml"
            )
            raise SettingError(f"{file} would not be read, for there is a conf/{name}: {instead}")


def _spell_out(train: DictConfig) -> None:
    """In a file a name alone may stand for what has a `_target_`."""
    for setting in _TARGETS:
        if isinstance(name := train.get(setting), str):
            train[setting] = {"_target_": name}


def _names() -> list[str]:
    """The names of the settings that every job has."""
    names = []
    for group in fields(Config):
        kind = group.default_factory
        names += (
            [f"{group.name}.{member.name}" for member in fields(kind)]
            if is_dataclass(kind)
            else [group.name]
        )
    return names


def _groups() -> dict[str, list[str]]:
    """The groups of `conf/`, and the choices that each has."""
    folders = [folder for folder in config_dir().iterdir() if folder.is_dir()]
    return {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in folders}
