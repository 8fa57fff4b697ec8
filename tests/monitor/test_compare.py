"""Several runs on one page, and its figures."""

import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from tdml import cli
from tdml.monitor import compare_figures, compare_ranks
from tdml.monitor.compare import draw_figures, write_comparison
from tdml.monitor.history import read_all
from tests.monitor.run_folders import leave_run

_ALONE = ["topology.replicas=1", "topology.stages=1"]


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """A baseline, a run that ended, one under way, one that has just begun, and two with
    attackers."""
    attack = [
        "topology.replicas=4",
        "attack=mean_shift",
        "attack.replicas=[3]",
        "attack.from_round=2",
    ]
    return [
        leave_run(tmp_path / "net-1x1", *_ALONE, accuracies=[0.4, 0.6, 0.91]),
        leave_run(tmp_path / "net-2x2", "topology.replicas=2", accuracies=[0.3, 0.5, 0.905]),
        leave_run(tmp_path / "net-4x2", "rounds=3", accuracies=[0.2, 0.7], ended=False),
        leave_run(
            tmp_path / "net-8x2", "rounds=3", "topology.replicas=8", accuracies=[], ended=False
        ),
        leave_run(
            tmp_path / "net-4x2-attack",
            *attack,
            accuracies=[0.3, 0.5, 0.9],
            banned={2: ["r3.s0", "r3.s1"]},
        ),
        leave_run(
            tmp_path / "net-4x2-attack-undefended",
            *attack,
            "trust.enabled=false",
            accuracies=[0.3, 0.1, None],
        ),
    ]


def _text(svg: str) -> list[str]:
    """What is written in a figure: matplotlib draws letters and leaves the text beside them as a
    comment."""
    return [comment.strip() for comment in re.findall(r"<!--(.*?)-->", svg)]


def test_every_run_has_a_row_and_a_line(runs: list[Path], tmp_path: Path, capsys) -> None:
    out = tmp_path / "out" / "deeper"
    assert cli.run(["report", "--compare", *map(str, runs), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out / 'compare.html'}\n"
    page = (out / "compare.html").read_text()
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(<td>.*?)</tr>", page)]
    assert [row[:8] for row in rows] == [
        ["net-1x1", "1 × 1", "–", "3 of 3", "0.9100", "0.9100", "3", "–"],
        ["net-2x2", "2 × 2", "–", "3 of 3", "0.9050", "0.9050", "3", "-0.0050"],
        ["net-4x2", "4 × 2", "–", "2 of 3", "0.7000", "0.7000", "–", "+0.1000 at round 2"],
        ["net-8x2", "8 × 2", "–", "0 of 3", "–", "–", "–", "–"],
        [
            "net-4x2-attack",
            "4 × 2",
            "mean shift, 1 of 4",
            "3 of 3",
            "0.9000",
            "0.9000",
            "3",
            "-0.0100",
        ],
        [
            "net-4x2-attack-undefended",
            "4 × 2",
            "mean shift, 1 of 4, undefended",
            "3 of 3",
            "–",
            "0.3000",
            "–",
            "–",
        ],
    ]
    assert sorted(file.name for file in out.iterdir()) == [
        "accuracy.svg",
        "compare.html",
        "loss.svg",
        "ranks.svg",
    ]
    for name in ("accuracy", "loss", "ranks"):
        svg = (out / f"{name}.svg").read_text()
        ElementTree.fromstring(svg)
        assert svg in page
    assert not re.findall(r'(?:src|href)="(?!#)', page)  # nothing beside it is needed
    accuracy = _text((out / "accuracy.svg").read_text())
    assert (
        "Test accuracy · net" in accuracy
        and "the paper's 90 %" in accuracy
        and "attack from round 2" in accuracy
    )
    assert {"1x1  0.910", "2x2  0.905", "4x2  0.700, round 2 of 3", "8x2  no round yet"} <= set(
        accuracy
    )
    assert "4x2-attack-undefended  0.100" in accuracy
    assert "2x2  1.17" in _text((out / "loss.svg").read_text())
    assert {"attack, from round 2", "attack-undefended, from round 2"} <= set(
        _text((out / "ranks.svg").read_text())
    )


def test_runs_without_accuracy_are_compared_by_their_loss(tmp_path: Path) -> None:
    """Such as those of language models, whose line of the round knows a perplexity."""
    runs = [
        leave_run(tmp_path / f"gpt-{i}", accuracies=[9.0, 5.0], metric="perplexity")
        for i in range(2)
    ]
    page = write_comparison(runs, tmp_path / "out").read_text()
    assert re.findall(r"<th>(.*?)</th>", page)[4:] == ["test loss", "best", "hours"]
    assert re.findall(r"<td>(.*?)</td>", page)[3:6] == ["2 of 2", "0.5000", "0.5000"]
    figures = draw_figures(read_all(runs))
    assert sorted(figures) == ["loss", "test_loss"]
    assert "0  0.5" in _text(figures["test_loss"])
    mixed = [*runs, leave_run(tmp_path / "net", accuracies=[0.5, 0.6])]
    assert sorted(draw_figures(read_all(mixed))) == ["loss", "test_loss"]


def test_the_same_runs_give_the_same_figures(runs: list[Path]) -> None:
    assert draw_figures(read_all(runs[1:3])) == draw_figures(read_all(runs[1:3]))


def test_who_lies_is_seen_in_the_ranks(runs: list[Path]) -> None:
    defended, undefended = compare_ranks.ranks(read_all(runs)).axes
    for axes, liars in ((defended, 1), (undefended, 2)):
        honest, lies = axes.collections
        assert len(lies.get_offsets()) == liars
        assert len(honest.get_offsets()) == 4 * 2 - liars  # rounds 2 and 3


def test_without_an_attack_there_are_no_ranks(runs: list[Path]) -> None:
    assert sorted(draw_figures(read_all(runs[:3]))) == ["accuracy", "loss"]


@pytest.mark.parametrize("chosen", [[0], [1], [3], [1, 2]])
def test_any_runs_will_do(chosen: list[int], runs: list[Path]) -> None:
    figures = draw_figures(read_all(runs[i] for i in chosen))
    assert {"accuracy", "loss"} <= set(figures)
    assert {ElementTree.fromstring(svg).tag for svg in figures.values()} == {
        "{http://www.w3.org/2000/svg}svg"
    }


@pytest.mark.parametrize("count", [12, 30])
def test_labels_do_not_cover_each_other(count: int, tmp_path: Path) -> None:
    """However many lines end at the same place: in points, within the figure."""
    rounds = [0.1 + 0.8 * number / 12 for number in range(1, 13)]
    paths = [
        leave_run(tmp_path / f"run-{i}", accuracies=[r + i / 1e4 for r in rounds])
        for i in range(count)
    ]
    for figure in (
        compare_figures.accuracies(read_all(paths)),
        compare_figures.losses(read_all(paths)),
    ):
        FigureCanvasAgg(figure).draw()
        [axes] = figure.axes
        boxes = [
            Text.get_window_extent(label)
            for label in axes.texts
            if label.get_text().split()[0].isdigit()
        ]
        assert len(boxes) == count
        assert all(
            figure.bbox.contains(*box.min) and figure.bbox.contains(*box.max) for box in boxes
        )
        boxes.sort(key=lambda box: box.y0)
        assert all(low.y1 <= high.y0 + 0.5 for low, high in pairwise(boxes))


def test_the_folder_of_an_earlier_comparison_is_no_run(tmp_path: Path, monkeypatch) -> None:
    """`tdml report --compare runs/*`, the second time."""
    monkeypatch.chdir(tmp_path)
    run = leave_run(tmp_path / "runs" / "net", accuracies=[0.5])
    for _ in range(2):
        assert cli.run(["report", "--compare", *map(str, (tmp_path / "runs").iterdir())]) == 0
    assert write_comparison([run, run], run).read_text().count("<tr>") == 3


@pytest.mark.parametrize("bad", ["nowhere", "folder"])
def test_what_is_no_run_is_one_line(bad: str, runs: list[Path], tmp_path: Path, capsys) -> None:
    (tmp_path / "folder").mkdir()
    out = tmp_path / "out"
    assert (
        cli.run(["report", "--compare", str(runs[0]), str(tmp_path / bad), "--out", str(out)]) == 1
    )
    assert (
        capsys.readouterr().err
        == f"tdml: {tmp_path / bad} is no run: give the folder of one, such as runs/demo\n"
    )
    assert not out.exists()


def test_a_folder_that_cannot_be_made_is_one_line(runs: list[Path], tmp_path: Path, capsys) -> None:
    file = tmp_path / "file"
    file.touch()
    for out in (file, file / "out"):
        assert cli.run(["report", "--compare", str(runs[0]), "--out", str(out)]) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert said.startswith(f"tdml: --out {out} cannot be written: ")


def test_a_page_shows_names_as_they_are(tmp_path: Path) -> None:
    run = leave_run(tmp_path / "<script>", accuracies=[0.5])
    assert "<script>" not in write_comparison([run], tmp_path / "out").read_text()
