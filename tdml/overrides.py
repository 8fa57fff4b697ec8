"""Overrides on the command line: what Hydra would take for something else, and its complaints in one line."""

import re
from collections.abc import Mapping, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser

from tdml.errors import SettingError, one_line

_OPEN = ("model", "data", "attack")  # groups whose `_target_` decides what they take
_UNKNOWN_CHOICE = re.compile(r"Could not find '(\w+)/([^']*)'.*?Available options in '\w+': (.*?)(?: Config search|$)")
_UNKNOWN_KEY = re.compile(r"Could not override '([^']*)'|Key '\w+' not in '\w+'")


def check_overrides(overrides: Sequence[str], groups: Mapping[str, Sequence[str]]) -> None:
    """Check that every override names a setting and gives it one value, and a group one choice.

    Args:
        groups: the choices of each group.

    Raises:
        SettingError: names the setting.
        HydraException: one cannot be parsed.
    """
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        text, name = override.input_line, override.key_or_group
        if not name:
            raise SettingError(f"{text}: the name of the setting is missing: write key=value")
        if override.is_delete():
            continue
        if name in groups and (override.is_sweep_override() or not isinstance(override.value(), (str, dict))):
            raise SettingError(f"{text}: {name} takes one choice, such as {name}={groups[name][0]}")
        if override.is_sweep_override():
            values = text.partition("=")[2]
            raise SettingError(
                f"{text} is several values: write a list as {name}=[{values}], a text as {name}=\"'{values}'\""
            )


def explain(error: Exception) -> str:
    """Hydra's and OmegaConf's messages in one line, with the setting's name in front."""
    text = one_line(error)
    if match := _UNKNOWN_CHOICE.search(text):
        return _unknown_choice(*match.groups())
    if override := getattr(error, "override", None):
        return f"{override}: cannot be read: write key=value, an unusual value in two quotes, such as name=\"'a b'\""
    inner = error.__cause__ if "Could not override" in text else None  # of a group it names the group alone
    return _about(getattr(inner, "full_key", None) or getattr(error, "full_key", None), text)


def _unknown_choice(group: str, choice: str, available: str) -> str:
    own = f", or name your own with {group}._target_=…" if group in _OPEN else ""
    return f"{group}={choice} is unknown: choose one of {', '.join(available.split())}{own}"


def _about(key: str | None, text: str) -> str:
    """What is said of one setting."""
    if match := _UNKNOWN_KEY.match(text):
        return _unknown(key or match[1])
    if "has missing mandatory value" in text:
        return f"{key} is missing: give it a value"
    if "is not a ListConfig" in text:
        return f"{key} must be a list, such as {key}=[1,2]"
    if key and not text.startswith(key):
        text = re.sub(r"\s*full_key: .*$", "", text)
        return f"{key}: {text}"
    return text


def _unknown(key: str) -> str:
    group = key.partition(".")[0]
    if group in _OPEN and group != key:
        return f"{key} is no setting of this {group}: if its _target_ takes such an argument, add it as +{key}=…"
    return f"{key} is unknown: tdml train --show-config prints all settings"
