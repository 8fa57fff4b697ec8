import json
import sys

import pytest
import torch

from tests.jobs import SMALL, run_command

pytestmark = pytest.mark.timeout(120)
BENCH = [sys.executable, "-m", "tdml.cli", "bench", "throughput"]


@pytest.mark.slow
def test_a_job_beside_a_plain_loop(tmp_path):
    small = [*SMALL, "topology.replicas=2", "topology.stages=1", "sync.local_steps=3", "rounds=3"]
    result = run_command(
        *BENCH,
        *small,
        f"identity.folder={tmp_path / 'keys'}",
        "--json",
        str(tmp_path / "found.json"),
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stdout
    assert "2 × 1 nodes, whole rounds" in result.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    lines = (tmp_path / "runs" / "bench-throughput" / "metrics.jsonl").read_text().splitlines()
    totals = [json.loads(line)["seconds"]["total"] for line in lines]
    assert len(totals) == 3
    assert found["plain"] > 0
    assert found["machine"]["versions"]["torch"] == torch.__version__
    assert result.stdout.splitlines()[-1].startswith("2 × 1 nodes train at ")
    assert found["whole"] == pytest.approx(2 * 3 * 32 / ((totals[1] + totals[2]) / 2))
    assert found["training"] > found["whole"]
    assert found["limit"] > 0
    assert found["floors"].keys() == {"broadcast", "gather", "aggregate"}
    assert min(found["floors"].values()) > 0
    assert "of what its pipelines allow" in result.stdout
    assert "states and messages kept for audits cost " in result.stdout
    nodes, alone = found["startup"], found["plain_startup"]
    assert list(nodes["bytes"]) == ["coordinator", "r0.s0", "r1.s0"]
    assert min(*nodes["bytes"].values(), *alone["bytes"].values()) > 50 * 2**20  # torch alone
    assert 0 < alone["seconds"] < 60 and 0 < nodes["seconds"] < 60
    assert "until the first step" in result.stdout and "r*.s0" in result.stdout
    assert found["settings"] == [*small, f"identity.folder={tmp_path / 'keys'}"]


def test_a_job_that_cannot_start_says_why(tmp_path):
    result = run_command(*BENCH, *SMALL, "data._target_=no.such.module", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout.startswith("tdml: data=no.such.module cannot be used: ")
    assert len(result.stdout.splitlines()) == 1
