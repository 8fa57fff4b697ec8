"""Runs whose coordinator is killed, and that go on: nothing is paid twice, and a wrong ledger is
refused."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tdml.ledger.entry import sign_head
from tdml.protocol.identity import Identity
from tests.jobs import SMALL, Result, run_job, start_job
from tests.run_ledgers import assert_balanced, await_entry, entries, tdml, verify

_JOB = [
    *SMALL,
    "topology.replicas=3",
    "topology.stages=1",
    "sync.local_steps=2",
    "rewards.stake=5000000",
]


@pytest.mark.timeout(170)
def test_killed_again_and_again_and_no_round_is_paid_twice(tmp_path: Path, capsys) -> None:
    """In round 1 before there is a checkpoint, where the run begins anew; in the middle of round 2;
    right after one."""
    run, job = tmp_path / "run", [*_JOB, "rounds=4"]
    _kill(run, job, "round", 1)
    assert not list(run.glob("checkpoints/*"))
    assert "0 rounds, the run has not ended" in verify(run, capsys)
    _kill(run, [*job, "resume=auto"], "round", 2)
    assert "0 rounds, the run has not ended" in verify(run.with_name("run.1"), capsys)
    assert "1 rounds, the run has not ended" in verify(run, capsys)
    _kill(run, [*job, "resume=true"], "root", 3)
    result = run_job(run, 4, *job, "resume=true")
    assert result.statuses == [0] * 4, result.output
    assert "4 rounds, model.pt is the model of the last" in verify(run, capsys)
    assert_balanced(run, capsys, rounds=4)
    resumed = [entry.body["after"] for entry in entries(run, "resume")]
    assert resumed[0] == 1 and resumed[1] in (2, 3) and len(resumed) == 2
    assert "round 2, void" in tdml(capsys, "ledger", "show", run)[1]
    assert [line["round"] for line in result.rounds] == [1, 2, 3, 4]


@pytest.mark.slow
def test_killed_while_a_checkpoint_is_written_and_the_one_before_is_damaged(
    tmp_path: Path, capsys
) -> None:
    """It goes on from the one before that, says so, and pays for every round once."""
    run, marker = tmp_path / "run", tmp_path / "killed"
    job = [
        *_JOB, "rounds=4", "attack._target_=tests.saboteurs.KilledWhileSaving",
        "attack.nodes=[r0.s0]", "+attack.number=3", f"+attack.marker={marker}", "sync.patience=1",
    ]  # fmt: skip
    killed = run_job(run, 4, *job)
    assert marker.exists() and 0 not in killed.statuses, killed.output
    there = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert there == ["round-000001.pt", "round-000002.pt", "round-000003.partial"]
    assert entries(run, "root")[-1].round == 3
    newest = run / "checkpoints" / "round-000002.pt"
    damaged = bytearray(newest.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    newest.write_bytes(damaged)
    result = run_job(run, 4, *job, "resume=true")
    assert result.statuses == [0] * 4, result.output
    assert "round-000002.pt in" in result.output
    assert "the run goes on from the checkpoint of round 1" in result.output
    assert "4 rounds, model.pt is the model of the last" in verify(run, capsys)
    assert_balanced(run, capsys, rounds=4)
    assert [entry.body["after"] for entry in entries(run, "resume")] == [1]
    assert [line["round"] for line in result.rounds] == [1, 2, 3, 4]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A run of two rounds, and its folder of keys; both are only read."""
    folder = tmp_path_factory.mktemp("finished")
    result = run_job(folder / "run", 4, *_JOB, "rounds=2", f"identity.folder={folder / 'keys'}")
    assert result.statuses == [0] * 4, result.output
    return result


@pytest.fixture
def copy(finished: Result, tmp_path: Path) -> Path:
    """A copy of both."""
    shutil.copytree(finished.run.parent / "keys", tmp_path / "keys")
    return shutil.copytree(finished.run, tmp_path / "run")


def _go_on(run: Path, rounds: int = 3, keys: str = "keys") -> Result:
    return run_job(
        run, 4, *_JOB, f"rounds={rounds}", f"identity.folder={run.parent / keys}", "resume=true"
    )


def test_with_other_keys_a_run_goes_on_with_a_new_roster_and_new_stakes(copy: Path, capsys) -> None:
    others = copy.parent / "others"
    others.mkdir(mode=0o700)
    shutil.copy(copy.parent / "keys" / "coordinator.pem", others)
    result = _go_on(copy, keys="others")
    assert result.statuses == [0] * 4, result.output
    first, second = (entry.body["keys"] for entry in entries(copy, "roster"))
    assert first.keys() == second.keys() and not set(first.values()) & set(second.values())
    stakes = [
        p["to"]
        for entry in entries(copy, "rewards")
        for p in entry.body["postings"]
        if p["why"] == "stake"
    ]
    assert sorted(stakes) == sorted(f"stake:{key}" for key in (*first.values(), *second.values()))
    assert "3 rounds" in verify(copy, capsys)
    assert_balanced(copy, capsys, rounds=3)


def test_with_another_coordinators_key_nothing_changes(copy: Path, capsys) -> None:
    result = _go_on(copy, keys="others")
    _assert_one_line(
        result, "was begun with another coordinator's key: give the folder that holds it"
    )
    assert "2 rounds, model.pt is the model of the last" in verify(copy, capsys)


def _delete(ledger: Path) -> None:
    ledger.unlink()


def _truncate(ledger: Path) -> None:
    os.truncate(ledger, ledger.stat().st_size // 2)


def _empty(ledger: Path) -> None:
    os.truncate(ledger, 0)


def _take_back(ledger: Path) -> None:
    """What an older copy holds: neither the last round nor the end."""
    database = sqlite3.connect(ledger, isolation_level=None)
    [(last,)] = database.execute(
        "SELECT max(\"index\") FROM entries WHERE kind = 'root' AND round = 1"
    )
    database.execute('DELETE FROM entries WHERE "index" > ?', (last,))
    [(hashed,)] = database.execute('SELECT hash FROM entries WHERE "index" = ?', (last,))
    signature = sign_head(
        last + 1, hashed, Identity.load(str(ledger.parent.parent / "keys"), "coordinator")
    )
    database.execute(
        "UPDATE head SET entries = ?, hash = ?, signature = ?", (last + 1, hashed, signature)
    )
    database.close()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_delete, "ledger.db is missing or empty, but the checkpoint is of round 2"),
        (_truncate, "ledger.db cannot be read as a ledger"),
        pytest.param(
            _empty,
            "ledger.db is missing or empty, but the checkpoint is of round 2",
            marks=pytest.mark.slow,
        ),
        (_take_back, "ledger.db ends with round 1, but the checkpoint is of round 2"),
    ],
)
def test_wrong_ledger_is_refused_and_with_the_right_one_the_run_goes_on(
    damage: Callable[[Path], None], expected: str, copy: Path, finished: Result, capsys
) -> None:
    ledger = copy / "ledger.db"
    damage(ledger)
    before = ledger.read_bytes() if ledger.exists() else None
    _assert_one_line(_go_on(copy), expected)
    assert (ledger.read_bytes() if ledger.exists() else None) == before
    shutil.copy(finished.run / "ledger.db", ledger)
    assert "2 rounds, model.pt is the model of the last" in verify(copy, capsys)


@pytest.mark.slow
def test_run_that_ended_goes_on_for_more_rounds(copy: Path, capsys) -> None:
    assert _go_on(copy, rounds=2).statuses == [0] * 4
    assert "2 rounds, model.pt is the model of the last" in verify(copy, capsys)
    assert _go_on(copy, rounds=4).statuses == [0] * 4
    assert "4 rounds, model.pt is the model of the last" in verify(copy, capsys)
    assert_balanced(copy, capsys, rounds=4)
    assert len(entries(copy, "end")) == 3


def _assert_one_line(result: Result, expected: str) -> None:
    assert result.statuses == [1] * 4, result.output
    [line] = result.output.splitlines()
    assert line.startswith("tdml: ")
    assert expected in line


def _kill(run: Path, job: list[str], kind: str, number: int) -> None:
    """Kill all ranks, the coordinator first, as soon as it has written such an entry."""
    processes, _ = start_job(run, 4, *job)
    try:
        await_entry(run, kind, number, processes)
    finally:
        for process in processes:
            process.kill()
            process.join()
