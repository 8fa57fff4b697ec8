"""Which code a job's work depends on, so that processes can tell whether they run the same."""

import hashlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import OmegaConf

from tdml.common.vision import mend_torchvision
from tdml.errors import running_on
from tdml.settings.schema import Config
from tdml.settings.targets import is_path

_TDML = Path(__file__).resolve().parents[1]
_WITHOUT_LINE = {"tdml", "torch", *sys.stdlib_module_names}
_INSTALLED = {"site-packages", "dist-packages"}


def code_of(config: Config) -> str:
    """A line for TDML, for each module that a `_target_` is in, and for those beside it that it has
    imported, with its name and a digest; for each package that models are taken from, with its
    version (torch's and Python's belong to the machine); and for each file that a setting of the
    model or the task names. What data hold is compared itself: whoever sees none need not be able
    to import their class.

    Raises:
        Exception: a target cannot be imported, or a package is missing.
    """
    ours = filter(Path.is_file, _TDML.rglob("*.py"))
    lines = [f"tdml {_digest(*sorted(ours))}"]
    lines += [f"{package} {version(package)}" for package in _packages(config)]
    for name in ("model", "task"):
        lines += [f"{path} {_digest(file)}" for path, file in _files(name, getattr(config, name))]
    mend_torchvision()
    without_data = OmegaConf.structured(replace(config, data={}))
    files: dict[str, Path] = {}
    for target in _targets(OmegaConf.to_container(without_data)):
        _add_files(_module_of(target), files)
    return "\n".join([*lines, *(f"{name} {_digest(files[name])}" for name in sorted(files))])


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
    with running_on():
        found = pkgutil.resolve_name(target)
    if inspect.isclass(found) or inspect.isroutine(found):
        return inspect.getmodule(found)
    paths = [*accumulate(target.split("."), "{}.{}".format)]
    return next((sys.modules[path] for path in reversed(paths) if path in sys.modules), None)


def _add_files(module: ModuleType | None, files: dict[str, Path]) -> None:
    """Add the file of a module, by its name, and those of its own that it has imported."""
    file = _file_of(module)
    if module is None or file is None or module.__name__ in files:
        return
    files[module.__name__] = file
    for value in [*vars(module).values()]:
        other = value if inspect.ismodule(value) else _made_in(value)
        # a package has whichever of its modules this process has imported so far
        inside = other is not None and other.__name__.startswith(f"{module.__name__}.")
        if not (inspect.ismodule(value) and inside) and _lies_beside(module, other):
            _add_files(other, files)


def _made_in(value: object) -> ModuleType | None:
    with suppress(Exception):  # of a user's object anything may come
        return sys.modules.get(str(value.__module__))
    return None


def _file_of(module: ModuleType | None) -> Path | None:
    """Where a module is that has a line: none of the machine's, of TDML's, or in an archive."""
    if module is None or module.__name__.partition(".")[0] in _WITHOUT_LINE:
        return None
    file = Path(getattr(module, "__file__", None) or "")
    return file if file.is_file() else None


def _lies_beside(module: ModuleType, other: ModuleType | None) -> bool:
    """Whether another module is in the same folder that modules are imported from, or below it, and
    neither was installed: what packages have imported hangs on the process."""
    one, two = _file_of(module), _file_of(other)
    if one is None or two is None or _INSTALLED & {*one.parts, *two.parts}:
        return False
    folder = one.parents[module.__name__.count(".") + (one.name == "__init__.py")]
    return two.is_relative_to(folder)


def _packages(config: Config) -> Iterator[str]:
    if config.model.get("_target_") == "tdml.models.hf":
        yield "transformers"
        if (config.model.get("lora") or {}).get("rank"):
            yield "peft"


def _files(name: str, value: Any) -> Iterator[tuple[str, Path]]:
    """By setting, the files that some settings name, and what transformers builds the model of a
    folder from: what a constructor keeps of them, such as a table, changes no shape and is never
    sent, and is another function on another machine."""
    parts = value if isinstance(value, dict) else {}
    if isinstance(value, list):
        parts = dict(enumerate(value))
    for key, part in parts.items():
        yield from _files(f"{name}.{key}", part)
    if isinstance(value, str) and value:
        files = (value, os.path.join(value, "config.json"))
        yield from ((name, Path(file)) for file in files if os.path.isfile(file))


def _digest(*files: Path) -> str:
    found = hashlib.sha256()
    for file in files:
        found.update(f"{file.name} {file.stat().st_size}\n".encode())
        with file.open("rb") as content:  # which may be larger than the memory
            found.update(hashlib.file_digest(content, "sha256").digest())
    return found.hexdigest()[:16]
