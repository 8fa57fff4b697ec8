"""Which packages are installed, without importing any of them."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def version(package: str) -> str | None:
    """The installed version; None where there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def missing(project: Path = _PROJECT) -> list[str]:
    """The packages that a checkout of the project needs and that are not installed, with those that
    the installed ones need on every system; what a missing one needs is not known."""
    open_ones = list(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"])
    seen: dict[str, bool] = {}  # name → whether it is missing
    while open_ones:
        name = re.split(r"[^\w.-]", open_ones.pop(0), maxsplit=1)[0]
        if name not in seen:
            seen[name] = version(name) is None
            needed = [] if seen[name] else importlib.metadata.requires(name) or []
            open_ones += [requirement for requirement in needed if ";" not in requirement]
    return [name for name, absent in seen.items() if absent]
