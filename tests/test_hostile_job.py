"""Whole jobs with hostile ranks: nothing runs, nothing is lost, and the run goes on."""

import json
from pathlib import Path

import pytest

from tests.jobs import SMALL, Result, run_job

_JOB = [*SMALL, "topology.stages=1", "sync.local_steps=2"]


@pytest.mark.timeout(120)
def test_hostile_calls_do_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the coordinator's key")
    result = _run(
        tmp_path, 4, "topology.replicas=3", "rounds=4", "attack._target_=tests.hostile.Calls", nodes=["r2.s0"]
    )
    assert result.statuses == [0] * 4, result.output
    assert result.verdicts(0) == result.verdicts(1) == ["honest"] * 4
    assert not (tmp_path / "canary").exists()
    attempts = json.loads((tmp_path / "attempts.json").read_text())
    assert list(attempts) == ["rank0", "rank1", "rank2"]
    for found in attempts.values():
        replays = [name for name in found if name.startswith("replay")]
        assert len(replays) >= 4, "commit, reveal, load and evaluate were heard, however often progress was asked for"
        assert len(found) - len(replays) == 17
        assert found.pop("flood") == "came back: 2000"
        assert found.pop("file").startswith("failed: ")
        assert set(found.values()) == {"came back: Envelope(header=b'', tensors=(), signature='')"}
    assert "Traceback" not in result.output
    assert len(result.output) < 10_000, "a peer must not be able to fill the terminal"


@pytest.mark.timeout(120)
def test_hostile_answers_cost_their_replicas_the_round_and_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "secret").touch()
    hostile = [f"r{replica}.s0" for replica in range(2, 11)]
    result = _run(
        tmp_path, 12, "topology.replicas=11", "rounds=3", "attack._target_=tests.hostile.Answers", nodes=hostile
    )
    assert result.statuses[:3] == [0] * 3, result.output
    assert not (tmp_path / "canary").exists()
    for honest in (0, 1):
        assert result.verdicts(honest)[0] == "honest"
        assert "malicious" not in result.verdicts(honest)
    notes = "\n".join(result.rounds[1]["notes"])
    for number in (2, 3, 4, 8):
        assert f"r{number}.s0: no answer (not its answer" in notes
    assert "r5.s0: answered reveal with something else" in notes
    assert "float64" in result.rounds[1]["replicas"]["7"]["reason"]
    assert "r6.s0: �[2Jwiped wiped" in notes
    assert "r10.s0: no answer (RuntimeError: �[2JAAAA" in notes
    assert any("r9.s0: answered refused with something else" in note for note in result.rounds[1]["notes"])
    assert "\x1b" not in result.output
    assert len(result.output) < 20_000
    assert (result.run / "ledger.db").stat().st_size < 2**20
    assert max(len(note) for line in result.rounds for note in line["notes"]) < 1_000


def _run(folder: Path, ranks: int, *overrides: str, nodes: list[str]) -> Result:
    return run_job(
        folder / "run", ranks, *_JOB, *overrides, f"attack.nodes=[{','.join(nodes)}]", f"+attack.folder={folder}",
        f"+attack.secret={folder / 'secret'}",
    )  # fmt: skip
