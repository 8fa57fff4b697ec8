"""What a run shows on a terminal."""

import os
from dataclasses import replace

import pytest
from rich.console import Console

from tdml.monitor.terminal import Terminal, closing_lines
from tdml.round.clock import PHASES
from tdml.round.result import Round
from tdml.trust.judgement import Judgement, lost
from tests.monitor.test_record import played


def _shown(width: int, record: Round, is_terminal: bool = True, rounds: int = 10) -> list[str]:
    terminal = Terminal(rounds=rounds, replicas=4)
    terminal.console = Console(
        force_terminal=is_terminal,
        color_system=None,
        width=width,
        highlight=False,
        soft_wrap=not is_terminal,
    )
    with terminal.console.capture() as captured:
        terminal.round(record)
    return [line.rstrip() for line in captured.get().splitlines()]


def _record() -> Round:
    return played(
        *(lost(index, (), "late") for index in range(4)),
        seconds=dict.fromkeys(PHASES, 1.25) | {"total": 9.0},
    )


@pytest.mark.parametrize(("width", "phases"), [(46, 0), (60, 1), (80, 4), (118, 9), (200, 9)])
def test_a_round_is_one_row_however_narrow_the_terminal(width: int, phases: int) -> None:
    titles, row = _shown(width, _record())
    assert titles.split()[:3] == ["round", "accuracy", "loss"]
    assert row.count("1.25") == phases
    assert len(titles.split()) == 5 + phases


@pytest.mark.parametrize("width", [60, 80, 118])
@pytest.mark.parametrize("rounds", [3, 99, 100, 1000, 100_000])
def test_titles_stand_above_their_columns_however_many_rounds(width: int, rounds: int) -> None:
    for number in (1, rounds):
        titles, row = _shown(width, replace(_record(), number=number), rounds=rounds)
        assert len(titles) == len(row) <= width
        assert titles.index("replicas") == row.index("–")


def test_a_task_without_metrics_has_its_loss_once() -> None:
    record = replace(_record(), test={"loss": 0.5})
    titles, row = _shown(80, record)
    assert titles.split()[:3] == ["round", "loss", "replicas"]
    assert row.split().count("0.5") == 1


def test_whose_update_does_not_count_is_said_with_the_reason() -> None:
    record = played(
        Judgement(0, (), "suspicious", "for training sample 7"),
        Judgement(1, (), "suspicious", "wide", weight=0.5),
        Judgement(2, ("r2.s0", "r2.s1"), "malicious", "a lie", blamed=("r2.s0",)),
        Judgement(3, (), "honest", weight=1.0),
        seconds=dict.fromkeys(PHASES, 1.0) | {"total": 9.0},
    )
    _, row, *lines = _shown(140, record, is_terminal=False)
    assert "? ? ✗ ✓" in row
    assert [line.strip() for line in lines] == [
        "replica 0 suspicious, its update does not count: for training sample 7",
        "replica 1 suspicious: wide",
        "r2.s0 malicious, banned: a lie",
    ]


def test_a_file_gets_all_columns() -> None:
    titles, row = _shown(140, _record(), is_terminal=False)
    assert row.count("1.25") == len(titles.split()) - 5 == len(PHASES)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_who_is_waited_for_is_a_line_now_and_then_where_there_is_no_live_one(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    terminal = Terminal(rounds=10, replicas=4)
    terminal.console = Console(force_terminal=is_terminal, width=100)
    with terminal.console.capture() as captured:
        for second, text in (
            (0, ""),
            (1, "waiting for a"),
            (2, "waiting for b"),
            (29, ""),
            (40, "waiting for c"),
        ):
            monkeypatch.setattr(
                "tdml.monitor.terminal.time.monotonic", lambda second=second: 1000.0 + second
            )
            terminal.waiting(text)
    assert captured.get().splitlines() == (
        [] if is_terminal else ["waiting for a", "waiting for c"]
    )


def test_what_is_to_be_typed_can_be_typed(tmp_path) -> None:
    folder = tmp_path / "my runs"
    lines = closing_lines(folder, report=True, finished=True)
    assert [f"'{folder}" in line for line in lines] == [False, False, True, True, True, False]


def test_a_run_goes_on_when_nobody_reads_any_more() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        terminal = Terminal(rounds=10, replicas=4)
        terminal.console.file = pipe
        terminal.say("nobody reads this")
        terminal.round(_record())
        # nor does what others write raise BrokenPipeError when the pipe is closed
        pipe.write("nor this\n")


def test_a_run_goes_on_when_its_log_cannot_be_written() -> None:
    """The disk is full, or the terminal was closed: a line could be written in no round."""
    with open("/dev/full", "w") as full:
        terminal = Terminal(rounds=10, replicas=4)
        terminal.console.file = full
        terminal.say("there is no room for this")
        terminal.round(_record())
