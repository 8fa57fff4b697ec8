import json
import os
import sys

import pytest

from tdml import config as settings
from tdml.bench import startup

_SMALL = ["model=mlp", "data.size=8", "model.features=192", "model.hidden=16"]


def test_until_the_first_step_by_hand(tmp_path):
    """Two rounds of 3 and 2 seconds were written down 20 s after the start; the weights had been
    sent in half a second."""
    metrics = tmp_path / "metrics.jsonl"
    assert startup.until_first_step(metrics, begun=1000.0) is None
    lines = [
        {"seconds": {"broadcast": 0.5, "total": 3.0}},
        {"seconds": {"broadcast": 0.1, "total": 2.0}},
    ]
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    os.utime(metrics, (1020.0, 1020.0))
    assert startup.until_first_step(metrics, begun=1000.0) == pytest.approx(15.5)
    assert startup.until_first_step(metrics, begun=1021.0) is None, "of the run before"


def test_processes_are_watched_until_they_end(tmp_path, monkeypatch):
    """The second of two holds 64 MiB."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "tdml"
    run.mkdir(parents=True)
    line = json.dumps({"seconds": {"broadcast": 0.0, "total": 0.0}})
    script = f"""
import os, pathlib, time
pids = []
for rank in range(3):
    if not (pid := os.fork()):
        held = b"x" * (2**26 if rank == 2 else 1)
        time.sleep(1 + rank)  # who ends first leaves the others their names
        os._exit(0)
    pids.append(pid)
pathlib.Path({str(run)!r}, "metrics.jsonl").write_text({line!r})
for pid in pids:
    os.waitpid(pid, 0)
"""
    fake = tmp_path / "python"
    fake.write_text(f"#!{sys.executable}\n{script}")
    fake.chmod(0o755)
    monkeypatch.setattr(startup.sys, "executable", str(fake))
    config = settings.load([*_SMALL, "topology.replicas=1", "topology.stages=2"])
    status, found = startup.watched([], config)
    assert status == 0 and found is not None
    assert list(found.bytes) == ["coordinator", "r0.s0", "r0.s1"]
    assert found.bytes["r0.s1"] > 2**26 > found.bytes["r0.s0"] > 2**20
    assert 0 < found.seconds < 30


@pytest.mark.slow
def test_a_plain_loop_is_watched_too():
    found = startup.plain(_SMALL)
    assert 0 < found.seconds < 60 and found.bytes["plain loop"] > 50 * 2**20
