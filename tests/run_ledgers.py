"""The ledgers of whole jobs: what tests ask of them."""

import json
import time
from multiprocessing import Process
from pathlib import Path

import pytest

from tdml import cli
from tdml.errors import SettingError
from tdml.ledger.entry import Entry
from tdml.ledger.reader import read
from tdml.rewards.accounts import book_of, standing


def entries(run: Path, kind: str | None = None, round: int | None = None) -> list[Entry]:
    """All entries of a run's ledger, also the void ones."""
    with read(run / "ledger.db") as ledger:
        return [entry for entry in ledger.entries(kind) if round in (None, entry.round)]


def tdml(capsys: pytest.CaptureFixture, *arguments: str | int | Path) -> tuple[int, str]:
    """The status and the output of a command."""
    status = cli.run([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return status, printed.out + printed.err


def verify(run: Path, capsys: pytest.CaptureFixture) -> str:
    """What `tdml ledger verify` says of a run that is sound."""
    status, text = tdml(capsys, "ledger", "verify", run)
    assert status == 0, text
    assert "all is well" in text
    return text


def assert_wrong(run: Path, capsys: pytest.CaptureFixture, expected: str) -> None:
    """`tdml ledger verify` finds the run wrong, and says so in one line."""
    status, text = tdml(capsys, "ledger", "verify", run)
    assert status == 1, text
    assert text.count("\n") == 1, text
    assert expected in text


def rewards(run: Path, capsys: pytest.CaptureFixture) -> tuple[dict[str, dict], dict[str, int]]:
    """What `tdml rewards --json` says: the lines by the first name of each key, and the totals."""
    status, text = tdml(capsys, "rewards", run, "--json")
    assert status == 0, text
    said = json.loads(text)
    return {line["names"][0]: line for line in said["keys"]}, said["totals"]


def assert_balanced(run: Path, capsys: pytest.CaptureFixture, rounds: int) -> None:
    """No round that counts has paid more than one pool, and no money was made or lost."""
    kept = standing((entry.round, entry.kind, entry.body) for entry in entries(run))
    book_of(kept).check()
    _, totals = rewards(run, capsys)
    job = entries(run, "job")[0].body
    assert totals["pool_in"] <= rounds * job["pool"]
    assert (
        totals["pool_in"] + totals["slashed"]
        == totals["credit"] + totals["held"] + totals["treasury"]
    )
    assert totals["deposits"] == totals["stake"] + totals["slashed"]


def await_entry(
    run: Path, kind: str, round: int, processes: list[Process], seconds: float = 60
) -> None:
    """Wait until a running job has written such an entry."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and all(process.is_alive() for process in processes):
        if _has(run, kind, round):
            return
        time.sleep(0.01)
    raise AssertionError(f"no {kind} of round {round} was written")


def _has(run: Path, kind: str, round: int) -> bool:
    try:
        return bool(entries(run, kind, round))
    except SettingError:  # not there yet, or being made
        return False
