"""Nodes that contradict their neighbours, in whole jobs: they are moved, and the third dispute convicts them alone."""

from pathlib import Path

import pytest

from tdml.training.checkpoint import load_last
from tests.jobs import SMALL, Result, run_job
from tests.run_ledgers import assert_balanced, entries, rewards, tdml, verify

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_JOB = [
    *SMALL, "topology.replicas=4", "topology.stages=2", "train.lr=0.02", "sync.local_steps=6",
    "rewards.stake=5000000", "attack._target_=tests.hostile_workers.Hostile",
]  # fmt: skip
_AUDITED = ["trust.audit_rate=1", "trust.budget=0", "rounds=5"]
_JUDGED = ["trust.audit_rate=0", "trust.budget=1", "rounds=8", "sync.local_steps=null"]


def disputes(result: Result) -> dict[int, list[list[str]]]:
    """By round, as the ledger has them."""
    found: dict[int, list[list[str]]] = {}
    for entry in entries(result.run, "verdict"):
        if pairs := entry.body["disputes"]:
            found.setdefault(entry.round, []).extend(pairs)
    return found


def paid(result: Result, name: str, number: int) -> bool:
    """Whether a node's share of a round was paid at once, in that round."""
    key = entries(result.run, "roster")[0].body["keys"][name]
    postings = entries(result.run, "rewards", number)[0].body["postings"]
    return any(p["to"] == f"credit:{key}" and p["why"].startswith(f"work of {name}") for p in postings)


@pytest.mark.parametrize(
    ("deed", "liar", "overrides"),
    [
        ("BlamesItsNeighbour", "r2.s1", _AUDITED),
        ("TampersAndDenies", "r2.s0", _AUDITED),
        ("MisleadsValidatorsAndDenies", "r2.s0", _JUDGED),
    ],
)
def test_the_liar_of_three_disputes_is_convicted_and_its_neighbours_are_paid(
    deed: str, liar: str, overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = [*_JOB, *overrides, f"+attack.deed={deed}", f"attack.nodes=[{liar}]"]
    result = run_job(tmp_path / "run", 9, *arguments, seconds=400)
    assert result.statuses == [0] * 9, result.output
    assert result.summary["banned"] == [liar], result.output
    found = disputes(result)
    assert len(found) == 3 and all(len(pairs) == 1 for pairs in found.values()), found
    assert overrides is _JUDGED or list(found) == [1, 2, 3]
    neighbours = {number: next(name for name in pair if name != liar) for number, [pair] in found.items()}
    assert len(set(neighbours.values())) == 3
    [ban] = entries(result.run, "ban")
    assert (ban.body["node"], ban.round) == (liar, max(found))
    assert all(f"{name} (round {number})" in ban.body["reason"] for number, name in neighbours.items())
    _assert_paid(result, liar, neighbours, capsys)
    shown = tdml(capsys, "ledger", "show", result.run)[1]
    assert sum("verdict" in line and "; in dispute: " in line for line in shown.splitlines()) == 3
    assert load_last(result.run / "checkpoints").court["disputes"] == []


def _assert_paid(result: Result, liar: str, neighbours: dict[int, str], capsys: pytest.CaptureFixture) -> None:
    """All honest nodes at once, but for the rounds of their disputes; and for those when the liar is convicted."""
    last = max(neighbours)
    for entry in entries(result.run, "round"):
        for name in (name for nodes in entry.body["seats"].values() for name in nodes):
            if name != liar:
                assert paid(result, name, entry.round) == (neighbours.get(entry.round) != name or entry.round == last)
            else:
                assert entry.round <= last
    lines, _ = rewards(result.run, capsys)
    assert {name: line["held"] for name, line in lines.items() if line["held"]} == {}
    assert lines[liar]["stake"] == 0 and all(line["stake"] for name, line in lines.items() if name != liar)
    verify(result.run, capsys)
    assert_balanced(result.run, capsys, rounds=len(result.rounds))
