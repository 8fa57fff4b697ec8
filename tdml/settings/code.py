"""Which code a job's work depends on, so that processes can tell whether they run the same."""

import hashlib
import inspect
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import hydra.utils

from tdml.common.vision import mend_torchvision
from tdml.settings.file import flat
from tdml.settings.schema import Config
from tdml.settings.targets import is_path

_TDML = Path(__file__).resolve().parents[1]


def code_of(config: Config) -> str:
    """A line for TDML and for each module that a `_target_` is in, with its name and a digest, and
    for each package that models are taken from, with its version (torch's belongs to the kind of
    machine). What data hold is compared itself: whoever sees none need not be able to import their
    class.

    Raises:
        Exception: a target cannot be imported, or a package is missing.
    """
    lines = [f"tdml {_digest(*sorted(_TDML.rglob('*.py')))}"]
    lines += [f"{package} {version(package)}" for package in _packages(config)]
    mend_torchvision()
    for target in sorted({*_targets(config)}):
        module = inspect.getmodule(hydra.utils.get_object(target))
        if module and (file := getattr(module, "__file__", None)):
            lines.append(f"{module.__name__} {_digest(Path(file))}")
    return "\n".join(lines)


def _targets(config: Config) -> Iterator[str]:
    """Those of others than TDML."""
    for name, value in flat(config).items():
        mine = isinstance(value, str) and is_path(value) and not value.startswith("tdml.")
        if mine and name.endswith("_target_") and not name.startswith("data."):
            yield value


def _packages(config: Config) -> Iterator[str]:
    if config.model.get("_target_") == "tdml.models.hf":
        yield "transformers"
        if (config.model.get("lora") or {}).get("rank"):
            yield "peft"


def _digest(*files: Path) -> str:
    found = hashlib.sha256()
    for file in files:
        found.update(f"{file.name} {file.stat().st_size}\n".encode() + file.read_bytes())
    return found.hexdigest()[:16]
