"""Where a run was played."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tdml.monitor.machine import note, read, this_machine
from tests.monitor.run_folders import MACHINE


def test_this_machine_is_described() -> None:
    machine = this_machine(first_round=3)
    assert (machine.first_round, machine.torch) == (3, torch.__version__)
    assert machine.processor and machine.cores >= 1
    assert f"torch {torch.__version__}" in machine.words


def test_what_is_noted_of_this_machine_is_read_back(tmp_path: Path) -> None:
    note(tmp_path, this_machine(first_round=1))
    assert read(tmp_path) == [this_machine(first_round=1)]


@pytest.mark.parametrize(
    ("noted", "kept"),
    [
        ([(1, "A")], [(1, "A")]),
        ([(1, "A"), (4, "A")], [(1, "A")]),
        ([(1, "A"), (4, "B"), (9, "A")], [(1, "A"), (4, "B"), (9, "A")]),
        ([(1, "A"), (4, "B"), (4, "A")], [(1, "A")]),  # no round was played on B
        ([(1, "A"), (4, "B"), (3, "C")], [(1, "A"), (3, "C")]),
    ],
)
def test_machines_are_noted_where_they_change(noted, kept, tmp_path: Path) -> None:
    for first_round, processor in noted:
        note(tmp_path, replace(MACHINE, first_round=first_round, processor=processor))
    assert [(said.first_round, said.processor) for said in read(tmp_path)] == kept
