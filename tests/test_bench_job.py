"""Benchmarks that play a whole job."""

import json
import signal
import sys
from pathlib import Path

import pytest

from tdml import cli
from tdml.bench import repeat
from tests.jobs import SMALL, descendants, kill_tree, start_command
from tests.run_ledgers import await_entry

pytestmark = pytest.mark.timeout(120)


@pytest.mark.slow
@pytest.mark.parametrize("bench", ["repeat", "averaging"])
def test_a_bench_that_is_ended_ends_its_job(bench: str, tmp_path: Path) -> None:
    job = [*SMALL, "topology.replicas=2", "topology.stages=1", "rounds=3000", "device=cpu"]
    run = tmp_path / "run"
    process = start_command(
        sys.executable, "-m", "tdml.cli", "bench", bench, *job, f"run_dir={run}",
        f"identity.folder={tmp_path / 'keys'}",
    )  # fmt: skip
    try:
        await_entry(run, "root", 1, [])
        started = descendants(process.pid)
        process.terminate()
        output, _ = process.communicate(timeout=60)
    finally:
        kill_tree(process)
    assert process.returncode == 128 + signal.SIGINT, output
    assert "Traceback" not in output
    assert len(started) > 3
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []


def test_steps_are_repeated_bit_for_bit_and_nobody_is_accused(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(repeat, "_TURN_S", 0.05)
    run = tmp_path / "run"
    small = [
        *SMALL,
        "topology.replicas=3",
        "topology.stages=1",
        "sync.local_steps=4",
        "rounds=2",
        "device=cpu",
    ]
    own = [f"run_dir={run}", f"identity.folder={tmp_path / 'keys'}"]
    assert cli.run(["bench", "repeat", *small, *own, "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["replica_rounds"], found["windows"], found["parted"]) == (6, 18, [])
    assert found["outcomes"] == {"clean": 6}
    assert found["repeatable"] > 0 < found["fastest"]
    assert (found["settings"], found["rehearsal"]) == ([*small, *own], "")
    assert (
        capfd.readouterr().out.splitlines()[-1].startswith("18 of 18 windows repeated bit for bit")
    )

    assert cli.run(["bench", "outcome", str(run)]) == 0
    said = capfd.readouterr().out
    assert said.startswith("bench-repeat: accuracy 0.")
    assert " after 2 rounds; attackers: none; accused: nobody; wrongly: nobody; " in said
