"""The page of what was measured of jobs beside plain loops."""

import json
from pathlib import Path

from tdml.bench.throughput_page import keep

_STARTED = {"seconds": 6.04, "bytes": {"coordinator": 300 << 20, "r0.s0": 512 << 20}}
_ALONE = {"seconds": 3.0, "bytes": {"plain loop": 400 << 20}}


def measured(name: str, torch: str = "2.13.0", **more: object) -> dict:
    machine = {"gpu": "", "processor": "two cores", "versions": {"torch": torch}}
    return {
        "name": name, "nodes": "1 × 2", "commit": "0123456789abcdef", "machine": machine,
        "settings": ["model=mlp", f"name={name}"], "plain": 200.0, "limit": 190.0,
        "training": 180.0, "whole": 150.0, "records": 0.021, "startup": _STARTED,
        "plain_startup": _ALONE,
    } | more  # fmt: skip


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
