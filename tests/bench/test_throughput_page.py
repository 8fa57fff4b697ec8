"""The page of what was measured of jobs beside plain loops."""

import json
from pathlib import Path

import pytest

from tdml import cli
from tdml.bench import json_file
from tdml.bench.throughput_page import page_text

_STARTED = {"seconds": 6.04, "bytes": {"coordinator": 900 << 20, "r0.s0": 512 << 20}}
_ALONE = {"seconds": 3.0, "bytes": {"plain loop": 400 << 20}}


def measured(name: str, torch: str = "2.13.0", **more: object) -> dict:
    machine = {"gpu": "", "processor": "two cores", "versions": {"torch": torch}}
    return {
        "name": name, "nodes": "1 × 2", "commit": "0123456789abcdef", "machine": machine,
        "settings": ["model=mlp", f"name={name}"], "plain": 200.0, "limit": 190.0,
        "training": 180.0, "whole": 150.0, "records": 0.021, "startup": _STARTED,
        "plain_startup": _ALONE,
    } | more  # fmt: skip


def keep(found: dict, docs: Path) -> Path:
    return json_file.keep(docs, "throughput", found, page_text)


def test_a_row_says_what_was_measured(tmp_path: Path) -> None:
    page = keep(measured("small"), tmp_path)
    assert page == tmp_path / "results" / "throughput.md"
    text = page.read_text()
    row = "| `small` | 1 × 2 | 200 | 95% | 90% | 75% | 2.1% | 6.0, 3.0 | 512, 400 |"
    assert row in text.splitlines()
    assert "`tdml bench throughput model=mlp name=small`, commit `0123456789`" in text
    kept = json.loads((tmp_path / "results" / "throughput" / "small.json").read_text())
    assert kept == measured("small")


def test_what_nobody_has_measured_is_empty(tmp_path: Path) -> None:
    text = keep(measured("gpu", records=None, startup=None), tmp_path).read_text()
    assert "| `gpu` | 1 × 2 | 200 | 95% | 90% | 75% |  |  |  |" in text.splitlines()


def test_every_machine_has_a_table_and_a_name_its_latest(tmp_path: Path) -> None:
    for each in (measured("a"), measured("b", torch="2.14.0"), measured("a", plain=400.0)):
        page = keep(each, tmp_path)
    lines = page.read_text().splitlines()
    heads = ["## two cores, torch 2.13.0", "## two cores, torch 2.14.0"]
    assert [line for line in lines if line.startswith("## ")] == heads
    rows = [line.split(" | ")[2] for line in lines if line.startswith("| `")]
    assert rows == ["400", "200"]


def test_a_job_may_have_the_name_of_a_folder(tmp_path: Path) -> None:
    """Or what took minutes to measure is lost."""
    assert "`paper/small`" in keep(measured("paper/small"), tmp_path).read_text()
    assert "`paper/large`" in (page := keep(measured("paper/large"), tmp_path).read_text())
    assert "`paper/small`" in page


@pytest.mark.parametrize("benchmark", ["throughput", "averaging"])
def test_where_its_page_cannot_be_nothing_is_measured(
    benchmark: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    docs = tmp_path / "nowhere" / "docs"
    assert cli.run(["bench", benchmark, "--keep", str(docs)]) == 1
    assert capsys.readouterr().err.startswith(f"tdml: --keep {docs}: give a folder")
