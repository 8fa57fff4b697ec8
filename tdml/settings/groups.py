"""Checks of the groups whose `_target_` decides what they take."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tdml.errors import SettingError

if TYPE_CHECKING:
    from tdml.settings.schema import Config

_OURS = "tdml.models."
_AT_LEAST = {
    "num_classes": 1, "channels": 1, "width": 1, "features": 1, "hidden": 1, "depth": 0,
    "vocabulary": 1, "context": 1, "layers": 1, "heads": 1,
}  # fmt: skip
_ALL_LINEAR = "all-linear"


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


def check_our_models(model: Mapping[str, Any]) -> None:
    """What a library would say of these names no setting.

    Raises:
        SettingError: a model of ours cannot have such a size, or such adapters.
    """
    if not str(model["_target_"]).startswith(_OURS):
        return
    for name, least in _AT_LEAST.items():
        if name in model and not _is_whole(model[name], least):
            raise SettingError(
                f"model.{name}={model[name]} must be a whole number of at least {least}"
            )
    if "lora" in model:
        _check_lora(model["lora"])


def _check_lora(lora: Any) -> None:
    if not isinstance(lora, Mapping):
        raise SettingError(
            f"model.lora={lora} must be a mapping: for adapters set model.lora.rank, such as "
            "model.lora.rank=8; for none leave model.lora out"
        )
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
