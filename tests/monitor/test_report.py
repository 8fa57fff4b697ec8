"""The report of a run folder in which anything may lie."""

import json
import os
import re
from pathlib import Path

import pytest

from tdml.errors import SettingError
from tdml.monitor.record import line_of
from tdml.monitor.report import write_report
from tdml.round.result import Round
from tdml.trust.judgement import Judgement

_LINE = {
    "round": 1, "test_accuracy": None, "test_loss": None, "accepted": [], "banned": [], "seconds": {"total": 1.0},
    "bytes": {"up": 1, "down": 1}, "notes": ["<script>"],
    "replicas": {"0": {"verdict": "lost", "train_loss": None, "rank_mean": None, "rank_std": None, "reason": "<b>"}},
}  # fmt: skip


def _run(folder: Path, metrics: str = json.dumps(_LINE) + "\n") -> Path:
    (folder / "metrics.jsonl").write_text(metrics)
    return folder


@pytest.mark.timeout(60)
def test_a_report_is_written_in_its_place_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.html").symlink_to(tmp_path / "victim")
    (tmp_path / "run" / "config.yaml").write_text("a: &a [1, 2]\nb: [*a, *a]\n</pre><script>")
    page = write_report(_run(tmp_path / "run")).read_text()
    assert (tmp_path / "victim").read_text() == "precious"
    assert "b: [*a, *a]" in page and "<script>" not in page


@pytest.mark.timeout(60)
def test_whose_update_does_not_count_is_said_with_the_reason(tmp_path: Path) -> None:
    verdict = {"verdict": "suspicious", "train_loss": None, "rank_mean": None, "rank_std": None}
    replicas = {str(index): verdict | {"reason": f"reason {index}"} for index in range(2)}
    page = write_report(
        _run(tmp_path, json.dumps(_LINE | {"replicas": replicas, "accepted": [1]}) + "\n")
    ).read_text()
    cells = [
        f'<td class="reason">{text}</td>'
        for text in ("r0", "suspicious, does not count", "reason 0")
    ]
    assert "".join(cells) in page
    assert '<td class="reason">suspicious</td><td class="reason">reason 1</td>' in page


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("tested", "shown"), [(0.8723404255319149, "0.8723"), (None, "unknown")])
def test_the_best_round_is_said_with_four_digits(
    tmp_path: Path, tested: float | None, shown: str
) -> None:
    best = {"round": 3, "validation_accuracy": 0.9123456789, "test_accuracy": tested}
    (tmp_path / "summary.json").write_text(json.dumps({"round": 1, "best": best}))
    page = write_report(_run(tmp_path)).read_text()
    assert f"<dd>0.9123 in round 3, test accuracy {shown}</dd>" in page


@pytest.mark.timeout(60)
def test_the_verdicts_of_rounds_that_were_taken_back_are_shown_as_such(tmp_path: Path) -> None:
    liar = _LINE["replicas"]["0"] | {"verdict": "malicious"}
    void = _LINE | {"replicas": {"0": liar}, "void": True}
    page = write_report(_run(tmp_path, f"{json.dumps(void)}\n{json.dumps(_LINE)}\n")).read_text()
    rows = re.findall(r'<tr><td>(.*?)</td>.*?class="verdict".*?>(.)</td></tr>', page)
    assert rows == [("1, taken back", "✗"), ("1", "–")]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "metrics",
    [
        "3\n",
        "[]\n",
        '{"round": 1}\n',
        json.dumps(_LINE | {"seconds": None}) + "\n",
        "[" * 200_000,
        f'{{"round": {"9" * 5000}}}',
        '{"round": 1e400}',
    ],
)
def test_damaged_metrics_are_one_line(tmp_path: Path, metrics: str) -> None:
    with pytest.raises(SettingError, match="damaged") as caught:
        write_report(_run(tmp_path, metrics))
    assert "\n" not in str(caught.value)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", ["[", "[" * 200_000])
def test_a_damaged_summary_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(SettingError, match="damaged"):
        write_report(_run(tmp_path))


@pytest.mark.timeout(60)
def test_a_damaged_ledger_names_itself(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database" * 100)
    with pytest.raises(SettingError, match=r"ledger\.db") as caught:
        write_report(_run(tmp_path))
    assert "metrics.jsonl" not in str(caught.value)


@pytest.mark.timeout(60)
def test_what_is_no_text_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(SettingError, match="holds no rounds"):
        write_report(tmp_path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("loss", [1.7e308, -1.7e308])
def test_no_loss_that_a_node_reports_keeps_a_run_from_its_report(
    loss: float, tmp_path: Path
) -> None:
    said = [Judgement(index, (), "suspicious", train_loss=loss * index) for index in range(2)]
    usual = {"test": {"loss": -1.0}, "seconds": {"total": 1.0}, "bytes": {"up": 1, "down": 1}}
    rounds = [Round(n, {}, {}, judgements=dict(enumerate(said)), **usual) for n in (1, 2)]
    lines = (f"{json.dumps(line_of(played))}\n" for played in rounds)
    assert write_report(_run(tmp_path, "".join(lines))).exists()


def test_no_name_in_the_metrics_is_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    line = _LINE | {f"test_{evil}": 0.5, "seconds": {"total": 1.0, evil: 2.0}}
    (tmp_path / "run").mkdir()
    page = write_report(_run(tmp_path / "run", json.dumps(line) + "\n")).read_text()
    assert "<script>" not in page.lower() and "&lt;script&gt;" in page.lower()
