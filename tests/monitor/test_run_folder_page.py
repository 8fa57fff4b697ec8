"""The page on a run's files names all that they hold, and nothing else."""

import re
from dataclasses import replace
from pathlib import Path

from tdml.monitor.best import Best
from tdml.monitor.monitor import RunEnd, summary
from tdml.monitor.record import line_of
from tdml.round.clock import PHASES
from tdml.trust.judgement import Judgement
from tests.monitor.own_folder import config, record

_PAGE = (Path(__file__).resolve().parents[2] / "docs" / "run-folder.md").read_text(encoding="utf-8")


def named(heading: str) -> list[set[str]]:
    """The keys in the first columns of the tables below a heading; a metric as its split."""
    section = _PAGE.split(f"\n## {heading}")[1].split("\n## ")[0]
    tables = re.findall(r"\| key \| holds \|\n\|---\|---\|\n((?:\|.*\n)+)", section)
    return [
        {key for row in table.splitlines() for key in re.findall(r"`(\w+)…?`", row.split("|")[1])}
        for table in tables
    ]


def keys(line: dict) -> set[str]:
    return {re.sub(r"^(test|validation)_.*", r"\1_", key) for key in line}


def test_every_key_of_a_line_is_explained() -> None:
    line = line_of(replace(record(1), judgements={0: Judgement(0, (), "honest", weight=1.0)}))
    of_line, of_replica = named("`metrics.jsonl`")
    assert keys(line) | {"void", "validation_"} == of_line
    assert set(line["replicas"]["0"]) | {"nodes"} == of_replica
    assert all(f"`{phase}`" in _PAGE for phase in (*PHASES, "total", "up", "down"))


def test_every_key_of_the_summary_is_explained(path) -> None:
    [explained] = named("`summary.json`")
    assert keys(summary(config(path), [line_of(record(1))], Best([]), RunEnd("done"))) == explained
