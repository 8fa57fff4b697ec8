"""The pages say nothing that the code does not keep: links, names of files, commands, examples, and
what lines a verdict has."""

import ast
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch

from tdml import config as settings
from tdml.attacks import make_attack
from tdml.cli import _parser
from tdml.data import source
from tdml.run.prepare import prepare
from tests.pages import ROOT, blocks, follow

_PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*/*.md")]
}
_SHORT = "detection", "audit", "ledger", "rewards"
_FILES = [
    str(path.relative_to(ROOT))
    for folder in ("tdml", "tests", "conf", "docker")
    for path in ROOT.glob(f"{folder}/**/*.*")
]


def _commands() -> list[list[str]]:
    """All commands of this project in the pages, as words, without those that are only part of
    one."""
    joined = "\n".join(
        block for text in _PAGES.values() for block in [*blocks(text, "bash"), *blocks(text, "")]
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
        file = (ROOT / page).parent / path if path else ROOT / page
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


@pytest.mark.parametrize("page", [page for page in _PAGES if page.startswith("docs/")])
def test_every_page_is_found_from_the_readme(page: str) -> None:
    seen, ahead = set(), ["README.md"]
    while ahead:
        seen.add(here := ahead.pop())
        for target in re.findall(r"\]\(([^)\s#]+\.md)", _PAGES.get(here, "")):
            there = os.path.relpath((ROOT / here).parent / target, ROOT)
            ahead += [there] if there not in seen else []
    assert page in seen


def test_pages_that_the_code_names_are_there() -> None:
    named = {
        (file, page)
        for file in _FILES
        if file.endswith((".py", ".yaml"))
        for page in re.findall(r"\bdocs/[\w-]+\.md", (ROOT / file).read_text(encoding="utf-8"))
    }
    assert named
    assert [(file, page) for file, page in named if page not in _PAGES] == []


def _quoted() -> list[str]:
    """What docs/verdicts.md says that a run says."""
    text = re.sub(r"```.*?```", "", _PAGES["docs/verdicts.md"], flags=re.DOTALL)
    found = re.findall(r"`([^`\n]+)`", text)
    return [said for said in found if said.count(" ") > 1 and not said.startswith("tdml ")]


@pytest.fixture(scope="module")
def written() -> set[str]:
    """All strings in the code, and of those with values in them what stands between these."""
    files = (ROOT / "tdml").rglob("*.py")
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text("utf-8")))]
    constants = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return {value for value in constants if isinstance(value, str)}


@pytest.mark.parametrize("said", _quoted())
def test_the_code_can_say_what_a_verdict_is_said_to_say(said: str, written: set[str]) -> None:
    value = re.compile(r"\d[\d.]*%?|\w+\.s\d+|spare\d+|…")  # what the code puts in
    ends = {0}  # up to where it can be made of these
    for start in range(len(said)):
        if start in ends:
            ends |= {start + len(part) for part in written if said.startswith(part, start)}
            put_in = value.match(said, start)
            ends |= {put_in.end()} if put_in else set()
    assert len(said) in ends


@pytest.mark.parametrize(
    ("page", "most"), [("README.md", 900), *((f"docs/{name}.md", 1200) for name in _SHORT)]
)
def test_pages_are_short(page: str, most: int) -> None:
    assert len(_PAGES[page].split()) <= most


def test_the_example_of_an_own_model_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [example] = blocks(_PAGES["docs/your-model.md"], "python")
    _write_mine(tmp_path, example, monkeypatch)
    [overrides, *others] = [
        words[2:] for words in _commands() if "model._target_=mine.net" in words
    ]
    assert len(others) == 2, "one for each of two machines"
    config = settings.load(overrides)
    job = prepare(config, source.load_source(config), checkpoint=None)
    assert len(job.layouts) == config.topology.stages
    del sys.modules["mine"]


def test_the_example_of_an_own_attack_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [example] = blocks(_PAGES["docs/experiments.md"], "python")
    _write_mine(tmp_path, example, monkeypatch)
    [overrides] = [words[2:] for words in _commands() if "attack._target_=mine.Drift" in words]
    attack = make_attack(settings.load(overrides).attack)
    update = torch.randn(9)
    moved = attack.corrupt(update, context=None)
    assert float((moved - update).norm() / update.norm()) == pytest.approx(0.3, rel=1e-3)
    del sys.modules["mine"]


def _write_mine(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "mine.py").write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", ["quickstart", "your-model", "verdicts", "experiments"])
def test_a_page_from_top_to_bottom(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the installation, for what needs a repository's folder, and for what takes hours."""
    text = _PAGES[f"docs/{page}.md"]
    monkeypatch.chdir(tmp_path)
    for example in blocks(text, "python"):
        (tmp_path / "mine.py").write_text(example)
    lines = "\n".join(blocks(text, "bash")).replace("\\\n", " ").splitlines()
    left_out = "bash launch/", "source ", "tdml bench detection"
    script = "\n".join(line for line in lines if not line.startswith(left_out))
    follow(script.replace(" runs/demo", ""), seconds=800)
