"""docs/settings.md, and what it is made of."""

import inspect
import re
from pathlib import Path

from tdml import config as settings
from tdml.config import config_dir
from tdml.node import schedule
from tdml.settings.file import flat
from tests.settings_page import PAGE, described, page_text, settings_of


def test_the_page_in_the_repository_is_what_the_command_makes() -> None:
    """To make it: python -m tests.settings_page"""
    assert PAGE.read_text() == page_text()


def test_every_setting_of_a_job_is_on_the_page_with_a_meaning() -> None:
    rows = [line.split(" | ") for line in page_text().splitlines() if line.startswith("| `")]
    assert not [row for row in rows if not row[-1].removesuffix("|").strip()]
    named = {row[0].removeprefix("| ").strip("`") for row in rows}
    own = {name for name in flat(settings.load([])) if "._target_" not in name}
    assert own <= named


def test_every_experiment_is_on_the_page_with_a_meaning() -> None:
    folder = config_dir() / "experiment"
    names = [path.relative_to(folder).with_suffix("") for path in folder.rglob("*.yaml")]
    assert len(names) > 6
    for name in names:
        assert re.search(rf"^- `experiment={name}`: \w", PAGE.read_text(), re.MULTILINE), name


def test_the_arguments_of_schedules_are_on_the_page_as_they_are() -> None:
    [row] = [line for line in page_text().splitlines() if line.startswith("| `train.schedule` |")]
    for function in (schedule.cosine, schedule.linear, schedule.onecycle, schedule.wsd):
        for name, parameter in inspect.signature(function).parameters.items():
            if name not in ("step", "total", "warmup"):
                assert f"`{name}` ({parameter.default:.1f}" in row


def test_what_a_file_says_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "# What it is,\n# in two lines\ndefaults:\n  - none\n  - _self_\n\n"
        "_target_: mine.Mine\nrate: ${x:a.b,null}  # how fast; in two\n"
        "                          # lines\nouter:  # around\n  inner: a|b   # within\nlast: [1]\n"
    )
    assert described(file) == "What it is, in two lines"
    found = [(one.name, one.value, one.meaning) for one in settings_of(file)]
    assert found == [
        ("_target_", "mine.Mine", ""),
        ("rate", "${x:a.b,null}", "how fast; in two lines"),
        ("outer", "", "around"),
        ("outer.inner", "a|b", "within"),
        ("last", "[1]", ""),
    ]
