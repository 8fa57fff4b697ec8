"""launch/slurm.sbatch in a Slurm of this machine: a job that is preempted, and one whose time is
nearly over, come back and end well."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs import SMALL
from tests.run_ledgers import verify
from tests.slurm import Slurm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_ROOT = Path(__file__).resolve().parent.parent
_SCRIPT = str(_ROOT / "launch" / "slurm.sbatch")
_SETTINGS = [
    *SMALL, "topology.replicas=2", "topology.stages=1", "topology.microbatches=1",
    "sync.local_steps=20", "rounds=60",
]  # fmt: skip


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    made = Slurm(tmp_path, nodes=3)
    yield made
    made.stop()


def test_a_job_that_is_preempted_and_one_whose_time_is_short_come_back_and_end_well(
    slurm: Slurm, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run, log = tmp_path / "run", tmp_path / "job.log"
    job = submit(slurm, tmp_path, f"run_dir={run}")
    slurm.wait(lambda: rounds(run) >= 2, 240)

    urgent = slurm.must(
        "sbatch",
        "--parsable",
        "--partition=high",
        "--nodes=3",
        f"--output={tmp_path}/urgent.log",
        "--wrap=true",
    )
    slurm.wait(lambda: slurm.facts(urgent)["JobState"] == "COMPLETED", 120)
    assert slurm.facts(job)["Restarts"] == "1"
    assert "tdml: interrupted after round" in log.read_text()
    before = rounds(run)
    go_on(slurm, job)
    slurm.wait(lambda: rounds(run) >= before + 2, 240)

    slurm.must("scancel", "--batch", "--signal=USR1", job)  # what --signal=B:USR1@120 sends
    slurm.wait(lambda: slurm.facts(job)["Restarts"] == "2", 120)
    go_on(slurm, job)
    slurm.wait(lambda: slurm.facts(job)["JobState"] == "COMPLETED", 300)

    said = log.read_text()
    assert said.count("tdml: interrupted after round") == 2, said
    assert said.count("going on after round") == 2, said
    assert rounds(run) == 60
    verify(run, capsys)


def test_a_job_that_its_user_cancels_stays_away(slurm: Slurm, tmp_path: Path) -> None:
    run = tmp_path / "run"
    job = submit(slurm, tmp_path, f"run_dir={run}")
    slurm.wait(lambda: rounds(run) >= 1, 240)
    slurm.must("scancel", job)
    slurm.wait(lambda: slurm.facts(job)["JobState"] == "CANCELLED", 120)
    slurm.wait(lambda: "tdml: interrupted after round" in (tmp_path / "job.log").read_text(), 60)
    # it would be put into the queue again before the script ends
    slurm.wait(lambda: not slurm.must("squeue", "--noheader", "--jobs", job), 120)
    assert slurm.facts(job)["JobState"] == "CANCELLED"


def submit(slurm: Slurm, folder: Path, *overrides: str) -> str:
    """The number of a job on all three nodes."""
    variables = f"ALL,PYTHON={sys.executable},PYTHONPATH={_ROOT},OMP_NUM_THREADS=1"
    return slurm.must(
        "sbatch",
        "--parsable",
        "--nodes=3",
        f"--output={folder}/job.log",
        f"--export={variables}",
        _SCRIPT,
        *_SETTINGS,
        f"identity.folder={folder / 'keys'}",
        *overrides,
    )


def rounds(run: Path) -> int:
    """How many are recorded."""
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return max((json.loads(line)["round"] for line in lines if line.endswith("}")), default=0)


def go_on(slurm: Slurm, job: str) -> None:
    """Slurm lets a job wait for two minutes when it is in the queue again; a user need not."""
    slurm.wait(lambda: slurm.facts(job)["JobState"] in ("PENDING", "RUNNING"), 120)
    if slurm.facts(job)["JobState"] == "PENDING":
        slurm.must("scontrol", "update", f"JobId={job}", "StartTime=now")
