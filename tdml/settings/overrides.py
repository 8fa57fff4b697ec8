"""Overrides on the command line, and what Hydra would take for something else in them."""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType

from tdml.errors import SettingError, printable, refusing
from tdml.settings.explain import SHOW

SEARCH_PATH = "hydra.searchpath"
_MAY_BE_LEFT_OUT = ("attack", "experiment", "recipe")  # groups
# arguments of our models that conf/ does not list, for it would give them to a user's model too
_UNLISTED = ("model.stem",)
# texts, which are taken as they are typed: a run may be called 1.10, and a folder 2024_01
_TEXTS = (
    "name", "run_dir", "identity.folder", "identity.roster", "identity.ban_list",
    "ledger.artifacts", "data.root", "data.path", "data.test", "data.target", "data.inputs",
    "data.tokenizer", "model.config", "model.pretrained",
)  # fmt: skip
_INSTEAD = (
    f"settings are written without dashes, as key=value ({SHOW}); of Hydra's options only "
    "--config-dir DIR is there: put what you change into DIR/experiment/NAME.yaml, which begins "
    "with '# @package _global_', and add experiment=NAME; for several jobs loop in the shell"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What gives a job its settings on a command line: `overrides_of` reads it."""
    parser.add_argument(
        "--config-dir",
        type=Path,
        metavar="DIR",
        help="a folder of yours with more choices, as conf/",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="key=value",
        help="settings, such as topology.replicas=8",
    )


def overrides_of(parsed: argparse.Namespace, more: Sequence[str]) -> list[str]:
    """Hydra overrides. `more`: what the parser did not know, or found behind an option.

    Raises:
        SettingError: `--config-dir` is no folder.
    """
    folder = parsed.config_dir
    if folder is None:
        return [*parsed.overrides, *more]
    if not folder.is_dir():
        raise SettingError(f"--config-dir {folder} is no folder")
    path = str(folder.absolute()).replace("'", r"\'")
    return [f"{SEARCH_PATH}=['file://{path}']", *parsed.overrides, *more]


def check_overrides(overrides: Sequence[str], groups: Mapping[str, Sequence[str]]) -> None:
    """Check that every override names a setting and gives it one value, and a group one choice.

    Args:
        groups: the choices of each group.

    Raises:
        SettingError: names the setting.
        HydraException: one cannot be parsed.
    """
    if option := next((text for text in overrides if text.startswith("-")), None):
        raise SettingError(f"{option}: {_INSTEAD}")
    if not all(text.strip() for text in overrides):
        raise SettingError(
            "an argument is empty, as a variable of the shell is that is not set: leave it out"
        )
    for text in overrides:
        what = f"{printable(text)} is no UTF-8, as all text is here (LC_ALL=C.UTF-8)"
        with refusing(what, UnicodeError):
            text.encode()
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    if sum(override.key_or_group == SEARCH_PATH for override in parsed) > 1:
        raise SettingError(
            f"{SEARCH_PATH} is given twice, as by --config-dir: list all folders in one"
        )
    for override in parsed:
        if not override.key_or_group:
            raise SettingError(
                f"{override.input_line}: the name of the setting is missing: write key=value"
            )
        _check_hydras(override)
        choices = groups.get(override.key_or_group, ())
        if not override.is_delete():
            _check_value(override, choices)
        elif choices and override.key_or_group not in _MAY_BE_LEFT_OUT:
            raise SettingError(
                f"{override.input_line}: no job can do without this group: leave out single "
                f"settings, as ~{override.key_or_group}.…, or take another choice, such as "
                f"{override.key_or_group}={choices[0]}"
            )


def _check_hydras(override: Override) -> None:
    text, name = override.input_line or "", override.key_or_group
    if re.split(r"[./]", name)[0] == "hydra" and not text.startswith(f"{SEARCH_PATH}="):
        raise SettingError(
            f"{text}: of Hydra's own settings only {SEARCH_PATH} counts here; a run's folder is "
            "run_dir"
        )


def _check_value(override: Override, choices: Sequence[str]) -> None:
    text, name = override.input_line or "", override.key_or_group
    values = text.partition("=")[2]
    several = override.is_sweep_override()
    loop = f"; for a job with each, loop in the shell over tdml train {name}=…" if several else ""
    chosen = None if several else override.value()
    if choices and not isinstance(chosen, (str, dict)):
        raise SettingError(f"{text}: {name} takes one choice, such as {name}={choices[0]}{loop}")
    if choices and isinstance(chosen, str) and override.is_add() | override.is_force_add():
        raise SettingError(f"{text}: write {name}={values}")
    if several:
        listed = override.value_type == ValueType.SIMPLE_CHOICE_SWEEP
        write = f": write a list as {name}=[{values}], a text as {name}=\"'{values}'\""
        raise SettingError(f"{text} is several values{write if listed else ''}{loop}")


def as_typed(overrides: Sequence[str]) -> dict[str, str]:
    """What Hydra has taken for a number, or for true or false, where we ask for a text, by
    setting. A data set or a model of the user's may ask for a number."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    last = {override.key_or_group: override for override in parsed}
    return {
        setting: (override.input_line or "").partition("=")[2].strip()
        for setting, override in last.items()
        if setting in _TEXTS and isinstance(override.value(), int | float)
    }


def open_targets(overrides: Sequence[str], settings: Sequence[str]) -> list[str]:
    """Of some settings that have a `_target_`: `setting=name` gives that alone, and arguments need
    no `+`; nor do those that conf/ does not list. A data set of the user's that is named alone
    does not take the `size` of the one that conf/ has chosen."""
    opened = [_open_target(override, settings) for override in overrides]
    return [*opened, "~data.size"] if _names_own_data(overrides) else opened


def _names_own_data(overrides: Sequence[str]) -> bool:
    named = {override.lstrip("+~").partition("=")[0] for override in overrides}
    ours = any(override.startswith("data._target_=tdml.") for override in overrides)
    return "data._target_" in named and not (ours or named & {"data", "data.size", "experiment"})


def _open_target(override: str, settings: Sequence[str]) -> str:
    key, equals, value = override.lstrip("+").partition("=")
    if key in _UNLISTED and equals:
        return f"++{key}={value}"
    if (
        override.startswith("~")
        or not equals
        or not any(key == s or key.startswith(f"{s}.") for s in settings)
    ):
        return override
    return (
        f"++{key}={value}"
        if key not in settings or value.lstrip().startswith("{")
        else f"++{key}._target_={value}"
    )


def quoted(path: Path) -> str:
    """A path as a value of an override, whatever is in it."""
    text = str(path.absolute()).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"
