"""What a run that goes on takes from the ledger that is there."""

from pathlib import Path

import pytest

from tdml.errors import SettingError
from tdml.protocol.identity import is_job_of
from tdml.run.start_recorder import LEDGER, banned_keys, job_id
from tests.ledger import chains

_KEY = "ab" * 32


def test_without_a_ledger_there_is_a_new_job_and_nobody_is_banned(tmp_path: Path) -> None:
    ids = [job_id(tmp_path, _KEY) for _ in range(2)]
    assert ids[0] != ids[1]
    assert all(is_job_of(made, _KEY) for made in ids)
    assert not is_job_of(ids[0], "ef" * 32), "another coordinator's"
    assert banned_keys(tmp_path) == frozenset()


def test_ledger_that_was_hardly_begun_is_none(tmp_path: Path) -> None:
    """A coordinator may be killed between making the file and making its tables."""
    (tmp_path / LEDGER).touch()
    assert job_id(tmp_path, _KEY) != chains.JOB
    assert banned_keys(tmp_path) == frozenset()


def test_job_and_bans_are_those_of_the_ledger(tmp_path: Path) -> None:
    chains.write(tmp_path / LEDGER)
    assert job_id(tmp_path, chains.COORDINATOR.public) == chains.JOB
    with pytest.raises(SettingError, match=r"^identity.folder: .* another coordinator's key"):
        job_id(tmp_path, _KEY)
    assert banned_keys(tmp_path) == {chains.KEYS["r1.s1"].public}


def test_a_ban_outlives_its_round(tmp_path: Path) -> None:
    with chains.Ledger.open(tmp_path / LEDGER, chains.COORDINATOR, chains.JOB) as ledger:
        chains.begin(ledger)
        chains.play(ledger, 1, blamed=["r1.s1"])
        ledger.resume(0)
        chains.play(ledger, 1)
    assert banned_keys(tmp_path) == {chains.KEYS["r1.s1"].public}


def test_damaged_ledger_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_bytes(b"no database" * 100)
    for read in (lambda run: job_id(run, _KEY), banned_keys):
        with pytest.raises(
            SettingError, match=r"run_dir=.*: put back the ledger\.db .* resume=false"
        ):
            read(tmp_path)
