"""Overrides on the command line: what Hydra would take for something else, and its complaints in
one line."""

import argparse
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from tdml.errors import SettingError, one_line

SEARCH_PATH = "hydra.searchpath"
_OPEN = ("model", "data", "task", "attack")  # groups whose `_target_` decides what they take
# arguments of our models that conf/ does not list, for it would give them to a user's model too
_UNLISTED = ("model.stem",)
_ALIKE = 0.8  # of two names, to be taken for each other: difflib's ratio
_SHOW = "tdml train --show-config prints all settings"
_INSTEAD = {  # Hydra's own options, and what does the same here
    ("-m", "--multirun"): "a command runs one job: for several, loop in the shell: "
    "for lr in 0.1 0.01; do tdml train train.lr=$lr name=lr-$lr; done",
    ("-cd",): "write --config-dir DIR",
    ("-cn", "--config-name", "-cp", "--config-path"): (
        "the settings begin with conf/config.yaml: put what you change into "
        "DIR/experiment/NAME.yaml, which begins with '# @package _global_', and give "
        "--config-dir DIR experiment=NAME"
    ),
    ("-c", "--cfg", "-p", "--package", "--resolve", "-i", "--info"): _SHOW,
    ("-h", "--help", "--hydra-help"): f"{_SHOW}, conf/ says what they mean",
}
_TWICE = re.compile(r"Multiple values for ([\w/@.]+)\.")
_UNKNOWN_CHOICE = re.compile(
    r"Could not find '([\w/]+)/([^']*)'.*?Available options in '\1': (.*?)(?: Config search|$)"
)
_NOT_FOUND = re.compile(r"In '([^']*)': Could not find '([\w/]+/(\w+)/([^/']*))'")
_UNKNOWN_KEY = re.compile(r"Could not override '([^']*)'|Key '\w+' not in '\w+'")
_MISSING = re.compile(
    r".*(?i:missing mandatory value)|Incompatible value 'None'|field '[^']*' is not Optional"
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
        raise SettingError(f"{option}: {_instead(option)}")
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
        if not override.is_delete():
            _check_value(override, groups.get(override.key_or_group, ()))


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
    several, loop = override.is_sweep_override(), ""
    if several:
        own_name = "" if name == "name" else " name=job-$v"
        loop = (
            "; for a job with each, loop in the shell: for v in …; do tdml train "
            f"{name}=$v{own_name}; done"
        )
    if choices and (several or not isinstance(override.value(), (str, dict))):
        raise SettingError(f"{text}: {name} takes one choice, such as {name}={choices[0]}{loop}")
    if (
        choices
        and override.is_add() | override.is_force_add()
        and isinstance(override.value(), str)
    ):
        raise SettingError(f"{text}: write {name}={values}")
    if override.value_type == ValueType.SIMPLE_CHOICE_SWEEP:
        raise SettingError(
            f"{text} is several values: write a list as {name}=[{values}], a text as "
            f"{name}=\"'{values}'\"{loop}"
        )
    if several:
        raise SettingError(f"{text} is several values{loop}")


def _instead(option: str) -> str:
    name, _, value = option.partition("=")
    for names, instead in _INSTEAD.items():
        if name in names:
            return instead
    return f"settings are written without dashes: {name.strip('-') or 'key'}={value or '…'}"


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


def explain(error: Exception, known: Sequence[str]) -> str:
    """What Hydra, OmegaConf or the reader of a file of settings says, in one line, with the
    setting's name in front. `known`: the names that may be meant by one that is unknown."""
    text = one_line(error)
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return f"a file of settings cannot be read: {text}"
    if override := getattr(error, "override", None):
        if "=~" in override:
            return f"{override}: cannot be read: write $HOME for ~"
        spaces = ", without spaces" if re.match(r"\S+\s+=", override) else ""
        return (
            f"{override}: cannot be read: write key=value{spaces}, an unusual value in two quotes, "
            "such as name=\"'a b'\""
        )
    if match := _UNKNOWN_CHOICE.search(text):
        return _unknown_choice(*match.groups())
    if of_defaults := _of_defaults(text):
        return of_defaults
    # Of a group these name the group or the override alone.
    inner = error.__cause__ if re.match("Could not override|Error merging override", text) else None
    if inner is not None and text.startswith("Error merging"):
        text = one_line(inner)
    key = getattr(inner, "full_key", None) or getattr(error, "full_key", None)
    return _about(key, text, known)


def _of_defaults(text: str) -> str:
    """What is wrong with the defaults of a user's own file; "" if it is not these."""
    if match := _TWICE.match(text):
        return (
            f"{match[1]} is chosen in a file's defaults, where the job chooses one too: write "
            f"'override /{match[1]}: …' there"
        )
    if match := _NOT_FOUND.match(text):
        return (
            f"{match[1]}.yaml: there is no {match[2]}: for the whole job write 'override "
            f"/{match[3]}: {match[4]}'"
        )
    return ""


def _unknown_choice(group: str, choice: str, available: str) -> str:
    own = f", or name your own with {group}._target_=…" if group in _OPEN else ""
    return f"{group}={choice} is unknown: choose one of {', '.join(available.split())}{own}"


def _about(key: str | None, text: str, known: Sequence[str]) -> str:
    """What is said of one setting."""
    problem = ""
    if match := _UNKNOWN_KEY.match(text):
        problem = _unknown(key or match[1], known)
    elif match := re.match(r"Could not delete from config\. '([^']*)' does not exist", text):
        problem = f"~{match[1]}: there is no {match[1]} to leave out: {_SHOW}"
    elif match := re.match(r"Could not append to config\. An item is already at '([^']*)'", text):
        problem = f"+{match[1]} is there already: write {match[1]}=…"
    elif _MISSING.match(text):
        problem = f"{key} is missing: give it a value"
    elif "object_type=dict" in text and "interpolation" not in text.lower():
        problem = f"{key} must be a mapping, such as {key}={{a: 1}}"
    elif "is not a ListConfig" in text or "Cannot merge DictConfig with ListConfig" in text:
        # the schema's only list: of the whole schema OmegaConf does not say where
        key = key or "topology.cuts"
        problem = f"{key} must be a list, such as {key}=[1,2]"
    elif "HydraConfig was not set" in text:
        problem = (
            f"{key}: ${{hydra:…}} has no value here, for no job of Hydra's runs: take "
            f"${{now:…}} or ${{oc.env:…}}"
        )
    if problem:
        return problem
    text = re.sub(r"\s*full_key: .*$", "", text)
    text = re.sub(
        r"'?(List|Dict)Config'?",
        lambda kind: {"List": "a list", "Dict": "a mapping"}[kind[1]],
        text,
    )
    return f"{key}: {text}" if key and not text.startswith(key) else text


def _unknown(key: str, known: Sequence[str]) -> str:
    group = key.partition(".")[0]
    if key == "experiment":
        return "experiment: the file of an experiment begins with the line '# @package _global_'"
    if group in _OPEN and group != key:
        return (
            f"{key} is no setting of this {group}: if its _target_ takes such an argument, "
            f"add it as +{key}=…"
        )
    last = key.rpartition(".")[2]
    alike = [name for name in known if name.rpartition(".")[2] == last]
    groups = {name.partition(".")[0] for name in known}
    meant = " or ".join(alike or get_close_matches(key, {*known, *groups}, 1, _ALIKE))
    return f"{key} is unknown: {f'perhaps {meant}; ' if meant else ''}{_SHOW}"


def quoted(path: Path) -> str:
    """A path as a value of an override, whatever is in it."""
    text = str(path.absolute()).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"
