"""docs/results.md, and what it is made of."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tdml import cli
from tdml.errors import SettingError
from tdml.monitor.history import read
from tdml.paper.bars import BARS
from tdml.paper.page import page_text, write_page
from tdml.paper.results import load, update
from tdml.paper.runs import all_runs
from tests.monitor.run_folders import leave_run

_DOCS = Path(__file__).resolve().parents[2] / "docs"
RUNS = {run.name: run for run in all_runs()}


def _leave(folder: Path, name: str, accuracies: list[float], ended: bool = True) -> None:
    given = [text for text in RUNS[name].settings if not text.startswith(("recipe=", "rounds="))]
    rounds = [] if ended else [f"rounds={RUNS[name].rounds}"]
    leave_run(
        folder / name,
        *given,
        *rounds,
        accuracies=accuracies,
        ended=ended,
        banned={10: ["r3.s0", "r3.s1"]},
    )


def test_the_page_in_the_repository_is_what_the_command_makes() -> None:
    """To make it: bash launch/paper.sh --results"""
    assert (_DOCS / "results.md").read_text() == page_text(
        all_runs(), load(_DOCS / "results", all_runs())
    )


def test_the_page_names_every_bar_and_every_run_that_was_not_run() -> None:
    page = page_text(all_runs(), {})
    for bar in BARS:
        assert f"**{bar.text}.**\n\n- met: none\n- missed: none\n- not run: " in page
    sections = dict(re.findall(r"^## (\w+, recipe \w+)\n\nNot run: (.*)\.$", page, re.MULTILINE))
    for name, run in RUNS.items():
        assert name.split("-", 2)[2] in re.split(
            "[ ,]+", sections[f"{run.model}, recipe {run.recipe}"]
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baseline, a run under way, and one with an attacker, and a folder docs/ that is made from
    them."""
    folder = tmp_path_factory.mktemp("made")
    runs, docs = folder / "runs", folder / "docs"
    _leave(runs, "resnet18-paper-1x1", [0.5] * 74 + [0.91])
    _leave(runs, "resnet18-paper-2x2", [0.4] * 20, ended=False)
    _leave(runs, "resnet18-paper-4x2-gaussian", [0.5] * 74 + [0.9])
    assert cli.run(["paper", "--runs", str(runs), "--docs", str(docs), "--results"]) == 0
    return folder


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """A copy of docs/; that of the runs is beside it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "docs"


def test_results_are_kept_and_shown(results: Path, tmp_path: Path, capsys) -> None:
    assert (
        cli.run(["paper", "--runs", str(tmp_path / "runs"), "--docs", str(results), "--results"])
        == 0
    )
    assert capsys.readouterr().out.splitlines() == [
        "resnet18-paper-2x2: 20 rounds", "resnet18-paper-1x1: 75 rounds",
        "resnet18-paper-4x2-gaussian: 75 rounds",
        str(results / "results.md"),
    ]  # fmt: skip
    page = (results / "results.md").read_text()
    where = "AMD EPYC, 2 cores, AVX512, torch 2.13.0"
    assert (
        f"| `resnet18-paper-1x1` | – | 75 of 75 | 0.9100 | 0.027 | 75 | – | 0.2 | fp32 | {where} |"
        in page
    )
    assert (
        "| `resnet18-paper-2x2` | – | 20 of 75, not ended | 0.4000 | 0.600 | – "
        f"| -0.1000 at round 20 | 0.0 | fp32 | {where}" in page
    )
    assert (
        "| `resnet18-paper-4x2-gaussian` | gaussian, 1 of 4 | 75 of 75 | 0.9000 | 1.527 | 75 "
        "| -0.0100 | 0.2 |" in page
    )
    assert "- met: `resnet18-paper-4x2-gaussian` (round 10)" in page
    assert "- not known yet: `resnet18-paper-2x2` (at round 20 of 75)" in page
    shown = re.findall(r"!\[.*?\]\((results/.*?\.svg)\)", page)
    assert sorted(shown) == sorted(
        f"results/{file.name}" for file in (results / "results").glob("*.svg")
    )
    assert len(shown) == 4


def test_the_page_follows_from_the_json_alone(results: Path, tmp_path: Path) -> None:
    before = _contents(results)
    shutil.rmtree(tmp_path / "runs")
    (results / "results" / "resnet50-fast-loss.svg").touch()
    write_page(results, all_runs(), load(results / "results", all_runs()))
    assert _contents(results) == before


def test_figures_of_others_stay(results: Path) -> None:
    theirs = [results / "results" / name for name in ("mine.svg", "resnet18-paper-mine.svg")]
    for file in theirs:
        file.write_text("mine")
    write_page(results, all_runs(), {})
    assert set((results / "results").glob("*.svg")) == set(theirs)


def test_a_page_of_others_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    page = tmp_path / "results.md"
    page.write_text("mine")
    assert cli.run(["paper", "--docs", str(tmp_path), "--results", "resnet18-paper-1x1"]) == 1
    said = capsys.readouterr().err
    assert f"{page} is not of `tdml paper`" in said and said.count("\n") == 1
    assert page.read_text() == "mine"


def _contents(docs: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in docs.rglob("*.*")}


@pytest.mark.parametrize("rounds", [0, 5, 9, 12])
@pytest.mark.parametrize("defended", [True, False])
def test_a_run_whose_ranks_are_not_known_yet(rounds: int, defended: bool, tmp_path: Path) -> None:
    """It has not come to its attack, or nobody has ranked its updates."""
    runs, docs = tmp_path / "runs", tmp_path / "docs"
    name = "resnet18-paper-4x2-gaussian" + ("" if defended else "-undefended")
    _leave(runs, "resnet18-paper-1x1", [0.5] * 75)
    _leave(runs, name, [0.4] * rounds, ended=False)
    if rounds and not defended:
        _forget_ranks(runs / name)
    update(list(RUNS), runs, docs / "results")
    page = write_page(docs, all_runs(), load(docs / "results", all_runs())).read_text()
    attack = "gaussian, 1 of 4" + ("" if defended else ", undefended")
    assert f"| `{name}` | {attack} | {rounds} of 75, not ended" in page
    drawn = {path.name for path in (docs / "results").glob("*.svg")}
    assert ("resnet18-paper-attacks-ranks.svg" in drawn) == (defended and rounds >= 10)
    assert all(f"(results/{name})" in page for name in drawn)


def _forget_ranks(run: Path) -> None:
    """As in a run in which nobody could rank."""
    file = run / "metrics.jsonl"
    lines = [json.loads(text) for text in file.read_text().splitlines()]
    for line in lines:
        for replica in line["replicas"].values():
            replica["rank_mean"] = replica["rank_std"] = None
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_what_is_kept_of_more_rounds_stays(results: Path, tmp_path: Path) -> None:
    kept, runs = results / "results", tmp_path / "other"
    _leave(runs, "resnet18-paper-2x2", [0.3] * 19, ended=False)
    [said] = update(list(RUNS), runs, kept)
    file = kept / "resnet18-paper-2x2.json"
    assert said == f"resnet18-paper-2x2: 19 rounds; those 20 that {file} has of it stay"
    assert len(read(file).rounds) == 20
    _leave(runs, "resnet18-paper-2x2", [0.3] * 21, ended=False)
    assert update(list(RUNS), runs, kept) == ["resnet18-paper-2x2: 21 rounds"]


def test_only_the_chosen_runs_are_looked_at(results: Path, tmp_path: Path) -> None:
    _leave(tmp_path / "more", "resnet18-paper-4x2", [0.3], ended=False)
    _leave(tmp_path / "more", "resnet50-paper-4x2", [0.3], ended=False)
    assert update(["resnet50-paper-4x2"], tmp_path / "more", results / "results") == [
        "resnet50-paper-4x2: 1 rounds"
    ]


def test_a_file_of_another_run_is_refused(results: Path) -> None:
    (results / "results" / "resnet18-paper-2x2.json").rename(results / "results" / "mine.json")
    with pytest.raises(SettingError, match=r"mine\.json is of none of the paper's runs"):
        load(results / "results", all_runs())
