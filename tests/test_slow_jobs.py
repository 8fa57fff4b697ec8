"""Minutes each: the demo, the paper's data, and as many ranks as the design promises."""

import json
import sys
from pathlib import Path

import pytest

from tdml.monitor.timeline import timeline_of
from tests.jobs import run_command
from tests.run_ledgers import entries

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_TRAIN = [sys.executable, "-m", "tdml.cli", "train"]


def test_the_demo_learns_and_catches_its_attacker(tmp_path: Path) -> None:
    result = run_command(*_TRAIN, "experiment=demo", f"run_dir={tmp_path / 'run'}", seconds=400)
    assert result.returncode == 0, result.stdout
    summary, rounds = _read(tmp_path / "run")
    assert summary["banned"] == ["r3.s1"]
    assert summary["round"] <= 12
    assert summary["test_accuracy"] >= 0.95
    assert rounds[1]["replicas"]["3"]["verdict"] == "malicious"
    assert rounds[2]["accepted"] == [0, 1, 2, 3]
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    routine = [line["seconds"] for line in rounds if line is not rounds[1]]
    assert sum(s["audit"] for s in routine) < 0.15 * sum(s["total"] for s in routine), routine


def test_the_demo_of_nodes_that_come_and_go(tmp_path: Path) -> None:
    script = 'root="$1" venv="$2"; shift 2; source launch/churn.sh'
    words = ["bash", "-euo", "pipefail", "-c", script, "churn", str(tmp_path), sys.prefix]
    result = run_command(*words, seconds=400)
    assert result.returncode == 0, result.stdout
    assert "all is well" in result.stdout
    [run] = [path.parent for path in tmp_path.glob("runs/*/ledger.db")]
    timeline = timeline_of(entries(run))
    happened = {(event.node, event.what) for event in timeline.events}
    assert happened == {
        ("spare0", "joins"), ("spare1", "joins"), ("r2.s1", "is banned"), ("r0.s1", "is gone"),
        ("r0.s1", "is back"), ("r1.s0", "is gone"),
    }  # fmt: skip
    assert len(timeline.restarts) == 1
    assert set(timeline.rounds[-1].slots) == {
        "r0.s0", "r0.s1", "r1.s1", "r2.s0", "spare0", "spare1",
    }  # fmt: skip
    assert "Who held which slot" in (run / "report.html").read_text()
    assert _read(run)[0]["banned"] == ["r2.s1"]


@pytest.mark.parametrize("seed", [0, 1])
def test_clean_rounds_of_the_demo_accuse_nobody(seed: int, tmp_path: Path) -> None:
    arguments = ["experiment=demo", "attack=none", f"seed={seed}", f"run_dir={tmp_path / 'run'}"]
    result = run_command(*_TRAIN, *arguments, seconds=400)
    assert result.returncode == 0, result.stdout
    summary, rounds = _read(tmp_path / "run")
    assert summary["banned"] == []
    assert {r["verdict"] for line in rounds for r in line["replicas"].values()} <= {
        "honest",
        "suspicious",
    }


@pytest.mark.parametrize("attack", ["zero_gradient", "mean_shift"])
def test_the_papers_other_attacks_on_the_demo(attack: str, tmp_path: Path) -> None:
    arguments = ["experiment=demo", f"attack={attack}", f"run_dir={tmp_path / 'run'}"]
    result = run_command(*_TRAIN, *arguments, seconds=400)
    summary, _ = _read(tmp_path / "run")
    assert summary["banned"] == ["r3.s1"], result.stdout
    assert summary["test_accuracy"] >= 0.95


def test_resnet50_on_cifar10(cifar10_root: Path, tmp_path: Path) -> None:
    job = [
        "data=cifar10", f"data.root={cifar10_root}", "model=resnet50", "topology.replicas=2",
        "topology.stages=2", "topology.spares=1", "sync.local_steps=2", "rounds=1",
        f"run_dir={tmp_path / 'run'}",
    ]  # fmt: skip
    result = run_command(*_TRAIN, *job, seconds=400)
    assert result.returncode == 0, result.stdout
    assert _read(tmp_path / "run")[1][0]["accepted"] == [0, 1]


def test_eight_replicas_of_eight_stages_start(tmp_path: Path) -> None:
    job = [
        "topology.replicas=8",
        "topology.stages=8",
        "sync.local_steps=1",
        "rounds=1",
        f"run_dir={tmp_path / 'run'}",
    ]
    result = run_command(*_TRAIN, *job, seconds=800)
    assert result.returncode == 0, result.stdout
    assert _read(tmp_path / "run")[1][0]["accepted"] == list(range(8))


def _read(run: Path) -> tuple[dict, list[dict]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return json.loads((run / "summary.json").read_text()), [json.loads(line) for line in lines]


def test_the_demo_of_a_language_model_learns_and_catches_its_attacker(tmp_path: Path) -> None:
    result = run_command(*_TRAIN, "experiment=demo_gpt", f"run_dir={tmp_path / 'run'}", seconds=400)
    assert result.returncode == 0, result.stdout
    summary, rounds = _read(tmp_path / "run")
    assert summary["banned"] == ["r3.s1"]
    assert summary["test_perplexity"] < 256 / 10  # a tenth of what who knows nothing has
    assert {r["verdict"] for line in rounds for i, r in line["replicas"].items() if i != "3"} == {
        "honest"
    }
