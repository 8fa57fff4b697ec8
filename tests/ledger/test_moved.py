"""A ledger whose folder is moved aside while somebody begins to read it."""

import sqlite3
from pathlib import Path

import pytest

from tdml.errors import SettingError
from tdml.ledger import reader


def test_it_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a run does that begins anew in the same folder."""
    run = tmp_path / "run"
    run.mkdir()
    for name in ("ledger.db", "ledger.db-wal"):
        (run / name).touch()

    def moved(path: Path, how: str) -> sqlite3.Connection:
        run.rename(tmp_path / "run.1")
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(reader, "_connect", moved)
    with pytest.raises(SettingError, match=r"ledger\.db cannot be read as a ledger: .*No such"):
        reader.read(run / "ledger.db")
