"""What Hydra and OmegaConf say of settings, in one line that says what to do."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from tdml.errors import one_line

SHOW = "tdml train --show-config prints all settings"
_OPEN = ("model", "data", "task", "attack")  # groups whose `_target_` decides what they take
_ALIKE = 0.8  # of two names, to be taken for each other: difflib's ratio
_TWICE = re.compile(r"Multiple values for ([\w/@.]+)\.")
_UNKNOWN_CHOICE = re.compile(
    r"Could not find '([\w/]+)/([^']*)'.*?Available options in '\1': (.*?)(?: Config search|$)"
)
_NOT_FOUND = re.compile(r"In '([^']*)': Could not find '([\w/]+/(\w+)/([^/']*))'")
_UNKNOWN_KEY = re.compile(r"Could not override '([^']*)'|Key '\w+' not in '\w+'")
_NO_NUMBER = re.compile(r"Value '(.*)' of type .* could not be converted to (Integer|Float)")
_NO_BOOL = re.compile(r"Value '(.*)' is not a valid bool")
_MISSING = re.compile(
    r".*(?i:missing mandatory value)|Incompatible value 'None'|field '[^']*' is not Optional"
)


def explain(error: Exception, known: Sequence[str]) -> str:
    """What Hydra, OmegaConf or the reader of a file of settings says, in one line, with the
    setting's name in front. `known`: the names that may be meant by one that is unknown."""
    text = one_line(error)
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return f"a file of settings cannot be read: {text}"
    if override := getattr(error, "override", None):
        if "=~" in override:
            return f"{override}: cannot be read: write the whole path for ~"
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
    if key and (match := _NO_NUMBER.match(text)):
        problem = _no_number(key, *match.groups())
    elif match := _NO_BOOL.match(text):
        problem = f"{key}={match[1]} must be true or false"
    elif match := _UNKNOWN_KEY.match(text):
        problem = _unknown(key or match[1], known)
    elif match := re.match(r"Could not delete from config\. '([^']*)' does not exist", text):
        problem = f"~{match[1]}: there is no {match[1]} to leave out: {SHOW}"
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


def _no_number(key: str, value: str, kind: str) -> str:
    """Hydra reads 1e3 and 16.0 as fractions, whatever they are of."""
    name, inside, _ = key.partition("[")
    if inside:
        return f"{name} must be a list of whole numbers, such as {name}=[1,2], and has {value}"
    if kind == "Float":
        return f"{key}={value} must be a number, such as {key}=0.5"
    whole = re.fullmatch(r"(\d+)\.0", value)
    return f"{key}={value} must be a whole number, such as {key}={whole[1] if whole else 10}"


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
    if last in ("epochs", "epoch"):
        return (
            f"{key} is unknown: a job is as long as rounds says, such as rounds=10, and with "
            "sync.local_steps=null a round is an epoch of a replica's samples"
        )
    alike = [name for name in known if name.rpartition(".")[2] == last]
    groups = {name.partition(".")[0] for name in known}
    near = alike or get_close_matches(key, {*known, *groups}, 1, _ALIKE)
    if group == "train" and group != key:  # what these take has names of its own
        near += [f"train.{owner}.{last}" for owner in ("optimizer", "schedule")]
    meant = " or ".join(near)
    return f"{key} is unknown: {f'perhaps {meant}; ' if meant else ''}{SHOW}"
