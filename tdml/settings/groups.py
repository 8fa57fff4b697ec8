"""Checks of the groups whose `_target_` decides what they take."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tdml.errors import SettingError

if TYPE_CHECKING:
    from tdml.settings.schema import Config

_OURS = {"model": "tdml.models.", "data": "tdml.data.", "task": "tdml.tasks."}
# the least that whole numbers may be
_WHOLE = {
    "model.num_classes": 1, "model.channels": 1, "model.width": 1, "model.features": 1,
    "model.hidden": 1, "model.depth": 0, "model.vocabulary": 1, "model.context": 1,
    "model.layers": 1, "model.heads": 1, "data.size": 1, "data.context": 1,
    "data.vocabulary": 1, "task.context": 1, "task.padding": 0, "task.mask_token": 0,
}  # fmt: skip
_MAY_BE_NULL = ("data.vocabulary", "task.context", "task.padding")
_SHARES = ("data.held_out", "task.share")
_CHOICES = {
    "model.stem": ("imagenet", "cifar_pooled", "cifar"),
    "model.head": ("causal", "masked", "classifier"),
    "data.dtype": ("uint16", "uint32"),
    "task.loss": ("mse", "mae", "huber"),
}
_LARGEST_IMAGE = 512  # pixels; 1437 such images are a gigabyte
_ALL_LINEAR = "all-linear"
_LORA = ("rank", "alpha", "dropout", "targets")


def check_targets(config: "Config") -> None:
    """Raises SettingError: one names nothing."""
    for group in ("model", "data", "task", "attack"):
        target = getattr(config, group).get("_target_")
        if not target and group != "attack":
            raise SettingError(
                f"{group}._target_ is empty: name the class or function that makes it"
            )
        if target and not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", str(target)):
            raise SettingError(
                f"{group}._target_={target} is no dotted name: that of the function net in mine.py "
                "is mine.net"
            )
    for setting in ("optimizer", "schedule"):
        if not isinstance(getattr(config.train, setting).get("_target_"), str):
            raise SettingError(
                f"train.{setting} has no name: give it one, or the path of your own, as "
                f"train.{setting}=…"
            )


def check_ours(config: "Config") -> None:
    """What a library would say of these names no setting.

    Raises:
        SettingError: a model, data set or task of ours cannot have such a size, share or choice.
    """
    for group, ours in _OURS.items():
        settings = getattr(config, group)
        if not str(settings["_target_"]).startswith(ours):
            continue
        for key, value in settings.items():
            if wrong := _wrong(f"{group}.{key}", value):
                raise SettingError(f"{group}.{key}={value} {wrong}")
        if "lora" in settings:
            _check_lora(settings["lora"])


def _wrong(name: str, value: Any) -> str:
    """What a setting must be, if it is something else."""
    if value is None and name in _MAY_BE_NULL:
        return ""
    # '' is the current folder, and what a shell makes of a variable that is not set
    if name in ("data.path", "data.test") and value in ("", []):
        return "is empty: give a file or folder"
    if name in _WHOLE and not _is_whole(value, _WHOLE[name]):
        return f"must be a whole number of at least {_WHOLE[name]}"
    if name == "data.size" and value > _LARGEST_IMAGE:
        return f"must be at most {_LARGEST_IMAGE} pixels"
    if name in _SHARES and not (isinstance(value, float) and 0 < value < 1):
        return "must be a share between 0 and 1, such as 0.15"
    choices = _CHOICES.get(name, (value,))
    return "" if value in choices else f"is unknown: choose one of {', '.join(choices)}"


def _check_lora(lora: Any) -> None:
    if not isinstance(lora, Mapping):
        raise SettingError(
            f"model.lora={lora} must be a mapping: for adapters set model.lora.rank, such as "
            "model.lora.rank=8; for none leave model.lora out"
        )
    if odd := [name for name in lora if name not in _LORA]:
        raise SettingError(f"model.lora.{odd[0]} is read by nothing: it has {', '.join(_LORA)}")
    rank, targets = lora.get("rank"), lora.get("targets")
    if rank is not None and not _is_whole(rank, 1):
        raise SettingError(f"model.lora.rank={rank} must be a whole number from 1, or null")
    if isinstance(targets, str) and targets != _ALL_LINEAR:
        raise SettingError(
            f"model.lora.targets={targets} must be {_ALL_LINEAR}, or a list of names of layers, "
            f"such as model.lora.targets=[{targets}]"
        )


def _is_whole(given: Any, least: int) -> bool:
    return isinstance(given, int) and not isinstance(given, bool) and given >= least
