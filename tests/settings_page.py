"""docs/settings.md, made from the files in conf/ and their comments alone.

`python -m tests.settings_page` writes it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tdml.common.files import replace_file
from tdml.config import config_dir

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"

_INTRODUCTION = """# Settings

Made from the files in `conf/` and their comments by `python -m tests.settings_page`: change those, and call it again.

A setting is `NAME=VALUE` behind `tdml train`, `torchrun … -m tdml` or `launch/demo.sh`; a **group** such as `model` takes a **choice**,
`model=gpt`, which decides the settings that the group has. They are Hydra's overrides: `+data.root=/data` adds a setting that a choice
does not have, `'~data.size'` leaves one out. Names that are not there, and values that cannot work, are refused in one line before
anything starts. With `--show-config` behind it, `tdml train` shows what the settings come to, and runs nothing.
"""
_GROUPS = {
    "topology": "How many replicas and stages, and how a model is cut",
    "sync": "Rounds: how long they are, and what becomes of the mean",
    "train": "How a replica trains",
    "task": "What is trained for",
    "model": "What is trained",
    "data": "What it is trained on, and who gets which part",
    "trust": "The defence",
    "identity": "Keys",
    "ledger": "The record",
    "rewards": "Pay and stakes",
    "gather": "The coordinator's memory",
    "checkpoint": "Checkpoints",
    "monitor": "What is measured besides",
    "attack": "Attackers, for experiments",
}
_PRESETS = "recipe", "experiment"  # choices that set what other groups have
_FIRST = "default", "none", "sgd", "fedavg"  # choices that others build on

_SETTING = re.compile(
    r"^(?P<indent> *)(?P<name>\w+):(?P<value>(?: [^#]*?|\s*))(?:\s*# (?P<said>.*))?$"
)


@dataclass(frozen=True)
class Setting:
    """A line of a file in `conf/`."""

    name: str
    value: str
    meaning: str


def page_text() -> str:
    """The page, in Markdown."""
    parts = [_INTRODUCTION, "## The job\n", _table("", settings_of(config_dir() / "config.yaml"))]
    for group, title in _GROUPS.items():
        parts += [f"## {title}: `{group}`\n", *_group(group)]
    parts += ["## Several settings at once: `recipe`, `experiment`\n", *map(_presets, _PRESETS)]
    return "\n".join(parts)


def settings_of(path: Path) -> list[Setting]:
    """Those of a file, with what the comment behind each and the lines below it say."""
    found: list[Setting] = []
    above: list[tuple[int, str]] = []  # the settings that this one is part of, with their indents
    for line in path.read_text(encoding="utf-8").splitlines():
        if (more := re.match(r"^ +# (.*)$", line)) and found:
            last = found.pop()
            found.append(Setting(last.name, last.value, f"{last.meaning} {more[1]}".strip()))
        elif setting := _SETTING.match(line):
            indent = len(setting["indent"])
            above = [one for one in above if one[0] < indent]
            above.append((indent, setting["name"]))
            name = ".".join(name for _, name in above)
            found.append(Setting(name, setting["value"].strip(), setting["said"] or ""))
    return [one for one in found if one.name != "defaults"]


def described(path: Path) -> str:
    """What the comment at the head of a file says of the choice."""
    lines = path.read_text(encoding="utf-8").splitlines()
    head = [line for line in lines if line != "# @package _global_"]
    count = next((i for i, line in enumerate(head) if not line.startswith("# ")), len(head))
    return " ".join(line.removeprefix("# ") for line in head[:count])


def _group(group: str) -> Iterator[str]:
    """A table for all choices of a group that has none but a default, else one for each."""
    files = _files(group)
    known: dict[str, str] = {}
    for path in files:
        own = [one for one in settings_of(path) if one.name != "_target_"]
        own = [replace(one, meaning=one.meaning or known.get(one.name, "")) for one in own]
        known = {one.name: one.meaning for one in own} | known
        if len(files) > 1:
            said = described(path)
            yield f"**`{group}={path.stem}`**" + (f": {said}." if said else "") + "\n"
        if own:
            yield _table(f"{group}.", own)


def _presets(group: str) -> str:
    """A line for each choice."""
    folder = config_dir() / group
    files = [*_files(group), *sorted(folder.glob("*/*.yaml"))]
    names = [path.relative_to(folder).with_suffix("") for path in files]
    lines = [f"- `{group}={n}`: {described(path)}" for n, path in zip(names, files, strict=True)]
    return "\n".join(line.rstrip(".") + "." for line in lines)


def _files(group: str) -> list[Path]:
    return sorted(
        (config_dir() / group).glob("*.yaml"), key=lambda p: (p.stem not in _FIRST, p.stem)
    )


def _table(prefix: str, settings: Sequence[Setting]) -> str:
    rows = [("setting", "default", "meaning"), ("---", "---", "---")]
    rows += [
        (f"`{prefix}{one.name}`", f"`{one.value}`" if one.value else "", one.meaning)
        for one in settings
        if one.value or one.meaning
    ]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells) + "\n"


if __name__ == "__main__":
    replace_file(PAGE, page_text())
    print(PAGE)
