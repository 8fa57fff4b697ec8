"""The pages say nothing that the code does not keep: links, names of files, commands and the
example."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from tdml import config as settings
from tdml.cli import _parser
from tdml.data import source
from tdml.job import prepare

_ROOT = Path(__file__).resolve().parent.parent
_PAGES = {
    str(path.relative_to(_ROOT)): path.read_text()
    for path in [*_ROOT.glob("*.md"), *_ROOT.glob("*/*.md")]
}
_FILES = [
    str(path.relative_to(_ROOT))
    for folder in ("tdml", "tests", "conf", "docker")
    for path in _ROOT.glob(f"{folder}/**/*.*")
]


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _commands() -> list[list[str]]:
    """All commands of this project in the pages, as words, without those that are only part of
    one."""
    joined = "\n".join(
        block for text in _PAGES.values() for block in [*_blocks(text, "bash"), *_blocks(text, "")]
    )
    lines = joined.replace("\\\n", " ").splitlines()
    words = [
        shlex.split(line.removeprefix("$ "), comments=True)
        for line in lines
        if re.match(r"(\$ )?(tdml|torchrun) ", line)
    ]
    inline = [
        code.split()
        for text in _PAGES.values()
        for code in re.findall(r"`(tdml \w+ [^`]*--[^`⋯]*)`", text)
    ]
    return words + [["1" if word == "K" else word for word in words] for words in inline]


def _slug(heading: str) -> str:
    """As GitHub names a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", _PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _PAGES[page]):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = (_ROOT / page).parent / path if path else _ROOT / page
        assert file.exists(), target
        headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in map(_slug, headings), target


@pytest.mark.parametrize("page", _PAGES)
def test_files_that_are_named_are_there(page: str) -> None:
    for name in set(re.findall(r"`([\w/]+\.py)`", _PAGES[page])) - {"mine.py"}:
        assert any(f"/{file}".endswith(f"/{name}") for file in _FILES), name


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_commands_are_understood(words: list[str]) -> None:
    if words[0] == "tdml":
        parsed = _parser().parse_args(words[1:])
        overrides = getattr(parsed, "overrides", None)
    else:
        overrides = words[words.index("tdml") + 1 :]
    if overrides is not None:
        config = settings.load(overrides)
        if words[0] == "torchrun":
            ranks = int(words[words.index("--nnodes") + 1]) * int(
                words[words.index("--nproc-per-node") + 1]
            )
            assert config.topology.world_size == ranks


def test_the_readmes_own_model_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [example] = _blocks(_PAGES["README.md"], "python")
    (tmp_path / "mine.py").write_text(example)
    monkeypatch.syspath_prepend(str(tmp_path))
    [overrides] = [
        words[2:]
        for words in _commands()
        if words[:3] == ["tdml", "train", "model._target_=mine.net"]
    ]
    config = settings.load(overrides)
    job = prepare(config, source.load(config.data, config.seed), checkpoint=None)
    assert len(job.layouts) == config.topology.stages
    del sys.modules["mine"]
