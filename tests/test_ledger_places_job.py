"""Ledgers in awkward places: read while they are written, beside another run, on full disks and
read-only ones."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs import SMALL, finish_job, run_job, start_job
from tests.run_ledgers import assert_balanced, await_entry, entries, tdml, verify

_JOB = [*SMALL, "topology.replicas=3", "topology.stages=1", "sync.local_steps=2"]


@pytest.mark.timeout(170)
@pytest.mark.slow
def test_two_runs_share_a_folder_of_keys_and_are_verified_as_they_go(
    tmp_path: Path, capsys
) -> None:
    runs = [tmp_path / "one", tmp_path / "two"]
    jobs = [
        start_job(run, 4, *_JOB, "rounds=3", f"identity.folder={tmp_path / 'keys'}") for run in runs
    ]
    try:
        for run, (processes, _) in zip(runs, jobs, strict=True):
            await_entry(run, "root", 1, processes)
            assert "the run has not ended" in verify(run, capsys)
        results = [finish_job(run, *job, seconds=120) for run, job in zip(runs, jobs, strict=True)]
    finally:
        for process in (process for processes, _ in jobs for process in processes):
            process.kill()
    rosters = []
    for result in results:
        assert result.statuses == [0] * 4, result.output
        assert "3 rounds, model.pt is the model of the last" in verify(result.run, capsys)
        rosters.append(entries(result.run, "roster")[0].body["keys"])
    assert not set(rosters[0].values()) & set(rosters[1].values()), (
        "one key worked for two runs at the same time"
    )
    [one], [two] = (entries(run, "job") for run in runs)
    assert one.author == two.author and one.job != two.job
    assert entries(runs[0], "reveal")[0].body != entries(runs[1], "reveal")[0].body
    shutil.copy(runs[0] / "ledger.db", runs[1] / "ledger.db")
    assert tdml(capsys, "ledger", "verify", runs[1])[0] == 1


@pytest.mark.slow
def test_when_the_ledger_cannot_grow_the_run_ends_with_a_line_and_can_go_on(
    tmp_path: Path, capsys
) -> None:
    full = tmp_path / "full"
    full.touch()
    job = [
        *_JOB, "rounds=20", "attack._target_=tests.saboteurs.FullDisk", "attack.nodes=[r0.s0]",
        f"+attack.marker={full}", "+attack.size=90000",
    ]  # fmt: skip
    stopped = run_job(tmp_path / "run", 4, *job)
    assert stopped.statuses[0] == 1, stopped.output
    said = [line for line in stopped.output.splitlines() if line.startswith("tdml: run_dir=")]
    assert len(said) == 1 and "ledger.db" in said[0] and "resume=true" in said[0], stopped.output
    assert "Traceback" not in stopped.output
    done = len(stopped.rounds)
    assert f"{done} rounds, the run has not ended" in verify(stopped.run, capsys)
    full.unlink()
    result = run_job(tmp_path / "run", 4, *job, f"rounds={done + 1}", "resume=true")
    assert result.statuses == [0] * 4, result.output
    assert f"{done + 1} rounds, model.pt is the model of the last" in verify(result.run, capsys)
    assert_balanced(result.run, capsys, rounds=done + 1)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A file system that nobody can write, not even root, over what is in the folder `run` by
    then."""
    if os.geteuid():
        pytest.skip("only root can mount")
    run = tmp_path / "run"
    mounted = []

    def mount() -> Path:
        for how in (["--bind", run, run], ["-o", "remount,ro,bind", run]):
            if subprocess.run(["mount", *how], check=False, capture_output=True).returncode:
                pytest.skip("nothing can be mounted here")
            mounted.append(run)
        return run

    yield mount
    if mounted:
        subprocess.run(["umount", run], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_run_on_a_read_only_disk_is_verified_and_shown(
    killed: bool, read_only, tmp_path: Path, capsys
) -> None:
    """A coordinator that was killed leaves a log beside the ledger."""
    processes, log = start_job(tmp_path / "run", 4, *_JOB, "rounds=2")
    try:
        await_entry(tmp_path / "run", "root", 1, processes)
        if killed:
            processes[0].kill()
        finish_job(tmp_path / "run", processes, log, seconds=90)
    finally:
        for process in processes:
            process.kill()
    run = read_only()
    with pytest.raises(OSError):
        (run / "file").touch()
    assert (run / "ledger.db-wal").exists() == killed
    assert ("has not ended" in verify(run, capsys)) == killed
    assert tdml(capsys, "ledger", "show", run)[0] == tdml(capsys, "rewards", run)[0] == 0


@pytest.mark.parametrize(
    "spoil",
    [
        "none",
        pytest.param("foreign", marks=pytest.mark.slow),
        pytest.param("upper", marks=pytest.mark.slow),
    ],
)
def test_node_that_does_not_sign_its_commit_is_banned_and_the_run_goes_on(
    spoil: str, tmp_path: Path, capsys
) -> None:
    result = run_job(
        tmp_path / "run",
        4,
        *_JOB,
        "rounds=3",
        "attack._target_=tests.saboteurs.Unsigned",
        f"+attack.spoil={spoil}",
        "attack.nodes=[r2.s0]",
        "trust.rollback=off",
    )
    assert result.statuses == [0] * 4, result.output
    assert result.summary["banned"] == ["r2.s0"]
    assert result.verdicts(2) == ["honest", "lost", ""]
    assert "3 rounds, model.pt is the model of the last" in verify(result.run, capsys)
    [ban] = entries(result.run, "ban")
    assert (ban.round, ban.body["node"]) == (2, "r2.s0")
    assert [entry.body["node"] for entry in entries(result.run, "refusal")] == ["r2.s0"]
    assert_balanced(result.run, capsys, rounds=3)
