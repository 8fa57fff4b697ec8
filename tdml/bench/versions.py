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
    """The packages that a checkout of the project needs and that are not installed."""
    needed = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    names = [re.match(r"[\w.-]+", requirement)[0] for requirement in needed]
    return [name for name in names if version(name) is None]
