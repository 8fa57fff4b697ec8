"""A node that lies and ends itself when it is asked, in a whole job: once it costs the round's pay, twice the stake."""

from pathlib import Path

import pytest

from tdml.training.checkpoint import load_last
from tests.jobs import SMALL, run_job
from tests.run_ledgers import assert_balanced, entries, rewards, tdml, verify

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_LIAR, _PARTNER, _STAKE = "r2.s1", "r2.s0", 5_000_000
_JOB = [
    *SMALL, "topology.replicas=3", "topology.stages=2", "topology.spares=1", "train.lr=0.02", "sync.local_steps=6",
    "sync.timeout=10", f"rewards.stake={_STAKE}", "trust.audit_rate=1", "trust.budget=0",
    "attack._target_=tests.hostile_workers.Hostile", "+attack.deed=DiesInOddRounds", f"attack.nodes=[{_LIAR}]",
]  # fmt: skip


def postings(run: Path, name: str, number: int) -> list[tuple[str, str]]:
    """From where to where a node's money moved in a round, by the kinds of the accounts."""
    key = entries(run, "roster")[0].body["keys"][name]
    moved = [p for p in entries(run, "rewards", number)[0].body["postings"] if key in p["from"] + p["to"]]
    return [(p["from"].partition(":")[0], p["to"].partition(":")[0]) for p in moved]


def test_the_second_time_that_a_node_is_gone_when_asked_convicts_it(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / "run"
    first = run_job(run, 8, *_JOB, "rounds=1", seconds=120)
    assert first.statuses == [0] * 6 + [-9, 0], first.output
    key = entries(run, "roster")[0].body["keys"][_LIAR]
    assert load_last(run / "checkpoints").court["absences"] == {key: [1]}
    last = run_job(run, 8, *_JOB, "rounds=4", "resume=true", seconds=150)
    assert last.statuses == [0] * 6 + [-9, 0], last.output
    assert last.verdicts(2) == ["suspicious", "honest", "malicious", "honest"]
    assert last.summary["banned"] == [_LIAR]
    audits = [entry.body for entry in entries(run, "audit") if entry.body["replica"] == 2]
    assert [audit["absent"] for audit in audits] == [[_LIAR], [], [_LIAR], []]
    assert audits[1]["validators"] == {"0": [0, 1, 2], "1": [0, 1, 2]}, "it is audited in full when it is back"
    [ban] = entries(run, "ban")
    assert (ban.body["node"], ban.round) == (_LIAR, 3)
    assert "stage 1 was gone when it had to show its work, in rounds 1 and 3" in ban.body["reason"]
    assert "; gone: r2.s1: audit" in tdml(capsys, "ledger", "show", run, "--node", _LIAR)[1]
    assert postings(run, _LIAR, 1) == [("mint", "held")]
    assert postings(run, _LIAR, 2) == [("mint", "credit")]
    assert postings(run, _PARTNER, 2) == [("mint", "credit"), ("held", "credit")]
    assert postings(run, _LIAR, 3) == [("stake", "credit"), ("stake", "treasury"), ("held", "treasury")]
    lines, _ = rewards(run, capsys)
    assert (lines[_LIAR]["stake"], lines[_LIAR]["held"]) == (0, 0)
    assert lines[_PARTNER] | {"held": 0, "stake": _STAKE, "lost": 0} == lines[_PARTNER]
    verify(run, capsys)
    assert_balanced(run, capsys, rounds=4)
