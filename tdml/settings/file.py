"""The settings of a job as a file, as a list of names, and as a fingerprint that ranks compare."""

import hashlib
import io
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tdml.errors import SettingError, refusing
from tdml.settings.schema import Config, IdentitySettings, LedgerSettings

_LARGEST = 4 << 20  # bytes


def to_yaml(config: Config) -> str:
    """The settings as they are written to `config.yaml`."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def from_yaml(path: Path) -> DictConfig:
    """The settings of an earlier run, as plain containers.

    Raises:
        SettingError: the file does not hold them.
    """
    damaged = f"{path.parent} is not a run, or is damaged: {path.name}"
    with refusing(damaged, (OmegaConfBaseException, yaml.YAMLError, ValueError, OSError)):
        loaded = OmegaConf.load(io.StringIO(_plain_text(path)))
    groups = loaded if isinstance(loaded, DictConfig) else DictConfig({})
    if missing := [field.name for field in fields(Config) if field.name not in groups]:
        raise SettingError(f"{damaged} has no {missing[0]}")
    return groups


def _plain_text(path: Path) -> str:
    """Of a file that may be a stranger's: of what TDML never writes there, aliases can unfold to
    more than any memory holds, and interpolations read this machine's environment.

    Raises:
        OSError, ValueError, yaml.YAMLError: it is no such file.
    """
    if not path.is_file() or path.stat().st_size > _LARGEST:
        raise ValueError(f"it must be a file of at most {_LARGEST >> 20} MiB")
    text = path.read_text(encoding="utf-8")
    if "${" in text or any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
        raise ValueError("it has aliases or interpolations, which no run writes")
    return text


def flat(settings: Config | DictConfig) -> dict[str, Any]:
    """Every setting by its full name, such as `train.lr`."""
    return _flat(
        settings if isinstance(settings, DictConfig) else OmegaConf.structured(settings), ""
    )


def fingerprint(config: Config) -> str:
    """A line for every setting, with its name and a digest, but for what the coordinator alone uses
    and what a machine may have of its own."""
    data = config.data | {"root": "", "path": "", "test": "", "shares": ""}
    if isinstance(data.get("weights"), str):
        data["weights"] = ""  # a file
    if config.own_data:  # each owner has its own: what they hold is looked at
        data = {"partition": "own", "weights": data.get("weights")}
    common = replace(
        config,
        name="",
        device="",
        run_dir="",
        resume=False,
        data=data,
        identity=IdentitySettings(""),
        ledger=LedgerSettings(),
    )
    values = flat(common)
    return "\n".join(
        f"{key} {hashlib.sha256(repr(value).encode()).hexdigest()[:16]}"
        for key, value in values.items()
    )


def differing(fingerprint: str, other: str) -> list[str]:
    """The names of the settings that differ between two fingerprints."""
    lines = {*fingerprint.splitlines()} ^ {*other.splitlines()}
    return sorted({line.partition(" ")[0] for line in lines})


def _flat(node: Any, name: str) -> dict[str, Any]:
    if not isinstance(node, DictConfig):
        return {name: OmegaConf.to_container(node) if OmegaConf.is_config(node) else node}
    return {
        k: v
        for key in node
        for k, v in _flat(node[key], ".".join(filter(None, [name, str(key)]))).items()
    }
