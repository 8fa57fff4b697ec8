"""Whole jobs with hostile ranks: nothing runs, nothing is lost, and the run goes on."""

import json
from pathlib import Path

import pytest

from tests.jobs import SMALL, Result, run_job
from tests.run_ledgers import entries

_JOB = [*SMALL, "topology.stages=1", "sync.local_steps=2"]
_COORDINATOR_REFUSES = {
    f"it refused: a message that is none: {what}"
    for what in ("its bytes are no envelope", "too many bytes or tensors", "a tensor is not plain")
} | {"it refused: a call with tdml order"}
_WORKERS_REFUSE = {
    f"it refused: {what}"
    for what in (
        "a message that is none: its bytes are no envelope",
        "a message that is none: too many bytes or tensors",
        "a message that is none: a tensor is not plain",
        "an order that the coordinator has not signed",
        "an order for r2.s0 of another session, or another node",
    )
}


@pytest.mark.timeout(120)
def test_hostile_calls_do_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the coordinator's key")
    result = _run(
        tmp_path,
        4,
        "topology.replicas=3",
        "rounds=4",
        "attack._target_=tests.hostile.Calls",
        nodes=["r2.s0"],
    )
    assert result.statuses == [0] * 4, result.output
    assert result.verdicts(0) == result.verdicts(1) == ["honest"] * 4
    assert not (tmp_path / "canary").exists()
    attempts = json.loads((tmp_path / "attempts.json").read_text())
    assert list(attempts) == ["rank0", "rank1", "rank2"]
    for found in attempts.values():
        replays = [name for name in found if name.startswith("replay")]
        assert len(replays) >= 4, (
            "commit, reveal, load and evaluate were heard, however often progress was asked for"
        )
        assert len(found) - len(replays) == 17
        assert found.pop("flood") == "came back: 2000"
        assert found.pop("file").startswith("failed: ")
        assert set(found.values()) == {"came back: Envelope(header=b'', tensors=(), signature='')"}
    assert "Traceback" not in result.output
    assert len(result.output) < 10_000, "a peer must not be able to fill the terminal"
    told = [entry.body for entry in entries(result.run, "refusal")]
    assert {body["node"] for body in told} == {"coordinator", "r0.s0", "r1.s0"}
    for name in ("r0.s0", "r1.s0"):
        assert {body["what"] for body in told if body["node"] == name} >= _WORKERS_REFUSE
    assert {body["what"] for body in told if body["node"] == "coordinator"} >= _COORDINATOR_REFUSES
    assert len(told) < 3 * 12, "whatever their number"


@pytest.mark.timeout(120)
def test_hostile_answers_cost_their_replicas_the_round_and_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "secret").touch()
    hostile = [f"r{replica}.s0" for replica in range(2, 11)]
    result = _run(
        tmp_path,
        12,
        "topology.replicas=11",
        "rounds=3",
        "trust.rollback=off",
        "attack._target_=tests.hostile.Answers",
        nodes=hostile,
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
    assert any(
        "r9.s0: answered refused with something else" in note for note in result.rounds[1]["notes"]
    )
    named = {
        entry.body["node"] for kind in ("refusal", "ban") for entry in entries(result.run, kind)
    }
    lost = {
        entry.body["nodes"][0]
        for entry in entries(result.run, "verdict", 2)
        if entry.body["status"] == "lost"
    }
    assert named == {f"r{number}.s0" for number in (2, 3, 4, 5, 7, 8, 9)}
    assert lost == {f"r{number}.s0" for number in (2, 3, 4, 5, 6, 8, 10)}, (
        "the others said that they failed"
    )
    assert "\x1b" not in result.output
    assert len(result.output) < 20_000
    assert (result.run / "ledger.db").stat().st_size < 2**20
    assert max(len(note) for line in result.rounds for note in line["notes"]) < 1_000


def _run(folder: Path, ranks: int, *overrides: str, nodes: list[str]) -> Result:
    return run_job(
        folder / "run",
        ranks,
        *_JOB,
        *overrides,
        f"attack.nodes=[{','.join(nodes)}]",
        f"+attack.folder={folder}",
        f"+attack.secret={folder / 'secret'}",
    )
