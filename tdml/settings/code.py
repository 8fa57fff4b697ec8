"""Which code a job's work depends on, so that processes can tell whether they run the same."""

import hashlib
import inspect
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Any

import hydra.utils
from omegaconf import OmegaConf

from tdml.common.vision import mend_torchvision
from tdml.settings.schema import Config
from tdml.settings.targets import is_path

_TDML = Path(__file__).resolve().parents[1]
_OF_THE_MACHINE = {"torch", *sys.stdlib_module_names}


def code_of(config: Config) -> str:
    """A line for TDML and for each module that a `_target_` is in, with its name and a digest, and
    for each package that models are taken from, with its version (torch's and Python's belong to
    the machine). What data hold is compared itself: whoever sees none need not be able to import
    their class.

    Raises:
        Exception: a target cannot be imported, or a package is missing.
    """
    ours = filter(Path.is_file, _TDML.rglob("*.py"))
    lines = [f"tdml {_digest(*sorted(ours))}"]
    lines += [f"{package} {version(package)}" for package in _packages(config)]
    mend_torchvision()
    without_data = OmegaConf.structured(replace(config, data={}))
    modules = map(_module_of, _targets(OmegaConf.to_container(without_data)))
    files = {m.__name__: getattr(m, "__file__", None) for m in modules if m}
    for name, file in sorted(files.items()):
        if file and Path(file).is_file() and name.partition(".")[0] not in _OF_THE_MACHINE:
            lines.append(f"{name} {_digest(Path(file))}")
    return "\n".join(lines)


def _targets(settings: Any) -> Iterator[str]:
    """All paths of something to import that is not TDML's, however deep they are."""
    if isinstance(settings, dict):
        target = settings.get("_target_")
        if isinstance(target, str) and is_path(target) and not target.startswith("tdml."):
            yield target
        settings = [*settings.values()]
    for value in settings if isinstance(settings, list) else []:
        yield from _targets(value)


def _module_of(target: str) -> ModuleType | None:
    """That it is made in; only its path knows that of what is neither a class nor a function, such
    as a function with some arguments bound."""
    found = hydra.utils.get_object(target)
    if inspect.isclass(found) or inspect.isroutine(found):
        return inspect.getmodule(found)
    paths = [*accumulate(target.split("."), "{}.{}".format)]
    return next((sys.modules[path] for path in reversed(paths) if path in sys.modules), None)


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
