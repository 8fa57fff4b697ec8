"""How the settings are composed: `conf/`, and what the command line has instead."""

import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from tdml.errors import SettingError, one_line
from tdml.settings.checks import check
from tdml.settings.explain import explain
from tdml.settings.extras import check_not_hidden
from tdml.settings.overrides import SEARCH_PATH, as_typed, check_overrides, open_targets
from tdml.settings.schema import Config, Topology

# of the group `train`: names, or a `_target_` with its own arguments
_TARGETS = ("optimizer", "schedule")
# libraries that every job imports, some only after the user's files can be seen
_LATE = (
    "fsspec", "matplotlib", "numba", "numpy", "safetensors", "scipy", "sklearn", "tensorboard",
    "torch", "torchvision",
)  # fmt: skip
# what reading a file of settings may raise; the last one of a file whose defaults name it
_OF_FILES = (yaml.YAMLError, UnicodeDecodeError, RecursionError)
# by setting, the choice of another one without which nothing reads it
_READ_WITH = {
    "sync.outer_lr": "sync.outer=nesterov",
    "sync.outer_momentum": "sync.outer=nesterov",
    "topology.chunks": "topology.schedule=interleaved_1f1b",
    "data.alpha": "data.partition=dirichlet",
}


def load(overrides: Sequence[str]) -> Config:
    """Compose the settings from `conf/` and Hydra overrides, and check them. Interpolations are
    resolved.

    Raises:
        SettingError: an override that cannot be parsed, an unknown setting or choice, a wrong type
            or a value that cannot work; or a file of the user's has a library's name.
    """
    for name in _LATE:
        check_not_hidden(name)
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
        _check_groups(composed)
        _take_as_typed(composed, as_typed(overrides))
        _spell_out(composed.get("train", {}))
        merged = OmegaConf.merge(_form(), composed)
        config = OmegaConf.to_object(merged)
    except UserWarning as warning:
        raise SettingError(f"{SEARCH_PATH}: {one_line(warning).partition('path=')[2]}") from warning
    except (*_OF_FILES, HydraException, OmegaConfBaseException) as error:
        raise SettingError(explain(error, _names())) from error
    assert isinstance(config, Config)
    config.run_dir = os.path.expanduser(config.run_dir)  # which a shell does not, behind run_dir=
    _check_somebody_attacks(config, overrides)
    check(config)
    given = {override.lstrip("+").partition("=")[0]: override for override in overrides}
    _check_read(config, given)
    _check_adapters_read(config, given)
    return config


@cache
def _form() -> DictConfig:
    """What there is, and of which type: to make that takes a quarter of the time of all else."""
    return OmegaConf.structured(Config)


def config_dir() -> Path:
    """`conf/`: beside this file in a wheel, beside the package in a checkout."""
    here = Path(__file__).resolve().parent
    return next(folder for folder in (here / "conf", here.parent / "conf") if folder.is_dir())


def see_own_classes() -> None:
    """Let the user's modules in the current folder be imported. Python's own come first: beside a
    random.py whatever is imported later would fail. Not for commands that look at others'
    folders."""
    library = os.path.dirname(os.__file__)
    sys.path[:0] = [library, os.path.join(library, "lib-dynload"), ""]


def _check_somebody_attacks(config: Config, overrides: Sequence[str]) -> None:
    """Attackers may be left idle by attack=none, as in one of many runs; not by saying nothing."""
    who = ("attack.replicas=", "attack.nodes=")
    some = (text for text in overrides if text.startswith(who) and not text.endswith("=[]"))
    named = next(some, "")
    said = any(text.startswith("attack=") for text in overrides)
    if named and not said and not config.attack.get("_target_"):
        raise SettingError(
            f"{named}: with attack=none nobody attacks: choose what they do, such as "
            "attack=sign_flip"
        )


def _check_read(config: Config, given: Mapping[str, str]) -> None:
    """Nor are settings that nothing reads: many runs would differ in nothing. `given` are the
    overrides, by setting."""
    for setting, needed in _READ_WITH.items():
        chooses, _, choice = needed.partition("=")
        if setting not in given or chooses in given:
            continue
        group, _, name = chooses.partition(".")
        if _of(getattr(config, group), name) != choice:
            raise SettingError(f"{given[setting]}: nothing reads it without {needed}: add that")


def _check_adapters_read(config: Config, given: Mapping[str, str]) -> None:
    """Nor are those of adapters, where there are none."""
    of_adapters = [text for setting, text in given.items() if setting.startswith("model.lora")]
    if not of_adapters or any("rank" in text for text in of_adapters):
        return
    lora = config.model.get("lora", {})
    if config.model["_target_"] == "tdml.models.hf" and not lora.get("rank"):
        raise SettingError(
            f"{of_adapters[0]}: nothing reads it without a rank, and all of the model is trained: "
            "add model.lora.rank=8, or another"
        )


def _of(group: Any, name: str) -> Any:
    return group.get(name) if isinstance(group, dict) else getattr(group, name)


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


def _check_groups(composed: DictConfig) -> None:
    """A file may have a name, or nothing, where a group has its settings."""
    groups = [each.name for each in fields(Config) if callable(each.default_factory)]
    for name in groups:
        if not isinstance(found := composed.get(name, {}), DictConfig | dict):
            raise SettingError(
                f"{name}: a file of settings has {found} there: give settings below it, or leave "
                f"it out; another choice is 'override /{name}: …' in the file's defaults"
            )


def _take_as_typed(composed: DictConfig, texts: Mapping[str, str]) -> None:
    """What our own settings, data sets and models take as a text."""
    for setting, text in texts.items():
        target = OmegaConf.select(composed, f"{setting.partition('.')[0]}._target_")
        if target is None or target.startswith("tdml."):
            OmegaConf.update(composed, setting, text)


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
