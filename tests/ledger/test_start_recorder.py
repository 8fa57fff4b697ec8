"""What a run that goes on takes from the ledger that is there."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tdml.errors import SettingError
from tdml.protocol.identity import is_job_of
from tdml.round.checkpoint import Return
from tdml.run.start_recorder import LEDGER, banned_keys, entries_of, job_id, stands_at
from tests.ledger import chains

_KEY = "ab" * 32


def test_without_a_ledger_there_is_a_new_job_and_nobody_is_banned(tmp_path: Path) -> None:
    assert entries_of(tmp_path) == []
    ids = [job_id(tmp_path, [], _KEY) for _ in range(2)]
    assert ids[0] != ids[1]
    assert all(is_job_of(made, _KEY) for made in ids)
    assert not is_job_of(ids[0], "ef" * 32), "another coordinator's"
    assert banned_keys([]) == frozenset()


def test_ledger_that_was_hardly_begun_is_none(tmp_path: Path) -> None:
    """A coordinator may be killed between making the file and making its tables."""
    (tmp_path / LEDGER).touch()
    assert entries_of(tmp_path) == []


def test_job_and_bans_are_those_of_the_ledger(tmp_path: Path) -> None:
    chains.write(tmp_path / LEDGER)
    written = entries_of(tmp_path)
    assert job_id(tmp_path, written, chains.COORDINATOR.public) == chains.JOB
    with pytest.raises(SettingError, match=r"^identity.folder: .* another coordinator's key"):
        job_id(tmp_path, written, _KEY)
    assert banned_keys(written) == {chains.KEYS["r1.s1"].public}


def test_a_ban_outlives_its_round(tmp_path: Path) -> None:
    with chains.Ledger.open(tmp_path / LEDGER, chains.COORDINATOR, chains.JOB) as ledger:
        chains.begin(ledger)
        chains.play(ledger, 1, blamed=["r1.s1"])
        ledger.resume(0)
        chains.play(ledger, 1)
    assert banned_keys(entries_of(tmp_path)) == {chains.KEYS["r1.s1"].public}


def test_the_record_goes_on_where_it_stands(tmp_path: Path) -> None:
    """Where a run was cut off in going back from round 3 to round 1, that is after round 3."""
    plain = SimpleNamespace(round=1, back=None)
    with chains.Ledger.open(tmp_path / LEDGER, chains.COORDINATOR, chains.JOB) as ledger:
        chains.begin(ledger)
        gone_back = SimpleNamespace(round=1, back=Return(3, "lied", ledger.length))
        cut_off = entries_of(tmp_path)
        ledger.roll_back(1, "lied")
    assert stands_at(tmp_path, [], None) == 0
    assert stands_at(tmp_path, cut_off, plain) == 1
    assert stands_at(tmp_path, cut_off, gone_back) == 3
    assert stands_at(tmp_path, entries_of(tmp_path), gone_back) == 1
    with pytest.raises(SettingError, match="missing or empty, but the checkpoint is of round 1"):
        stands_at(tmp_path, [], plain)


def test_damaged_ledger_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_bytes(b"no database" * 100)
    with pytest.raises(SettingError, match=r"run_dir=.*: put back the ledger\.db .* resume=false"):
        entries_of(tmp_path)
