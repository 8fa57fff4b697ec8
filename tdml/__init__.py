"""TDML: trustworthy distributed machine learning (after arXiv 2407.07339).

What a notebook needs: `load` settings, `train` a job, `read` a run; the mathematics is in
`tdml.trust`, and attacks derive from `tdml.attacks.Attack`.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tdml.monitor.history import History
    from tdml.settings.schema import Config

__version__ = "0.2.0"


def __getattr__(name: str) -> object:
    if name in ("trust", "attacks"):  # which import torch, for whoever asks for them
        return importlib.import_module(f"tdml.{name}")
    raise AttributeError(f"module 'tdml' has no attribute {name!r}")


def load(*overrides: str) -> "Config":
    """The settings of a job, as `tdml train` would take them.

    Raises:
        tdml.errors.SettingError: one of them cannot work.
    """
    from tdml import config

    return config.load(_checked(overrides))


def train(*overrides: str) -> int:
    """Play a job whose nodes are all on this machine, in processes of its own; the exit status of
    `tdml train`."""
    from tdml.bench.play import play

    return play(_checked(overrides))


def _checked(overrides: tuple[str, ...]) -> tuple[str, ...]:
    from tdml.errors import SettingError

    if wrong := [each for each in overrides if not isinstance(each, str)]:
        raise SettingError(
            f"{wrong[0]!r} is no setting: give each as a text of its own, such as 'rounds=5'; of a "
            "list behind a star: *settings"
        )
    return overrides


def read(run: str | Path) -> "History":
    """What became of a run, from its folder.

    Raises:
        tdml.errors.SettingError: it is no run.
    """
    from tdml.monitor import history

    return history.read(Path(run))
