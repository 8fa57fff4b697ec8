"""Nodes that were gone when they had to show their work: whom a verdict must blame for it."""

from contextlib import nullcontext

import pytest

from tdml.ledger.chain import Ledger
from tdml.ledger.verify import Wrong, verify
from tests.ledger import chains

KEYS = {name: identity.public for name, identity in chains.KEYS.items()}


@pytest.fixture
def ledger(tmp_path):
    """A ledger with rounds 0 and 1."""
    with Ledger.open(tmp_path / "ledger.db", chains.COORDINATOR, chains.JOB) as made:
        chains.begin(made)
        chains.play(made, 1)
        yield made


def gone(ledger, round, node, blamed=()):
    """A verdict on a replica one of whose nodes was gone."""
    status = "malicious" if blamed else "suspicious"
    said = {"replica": 0, "nodes": chains.SEATS["0"], "status": status, "reason": "", "blamed": list(blamed)}
    ledger.append(round, "verdict", said | {"absent": [node], "samples": 64})


def close_with_gone(ledger, round, node, blamed=()):
    """A round in which a node is gone when it must show its work."""
    chains.before_commits(ledger, round)
    ledger.append(round, "reveal", {"secret": chains.SECRET})
    gone(ledger, round, node, blamed)
    posting = {"from": "mint", "to": f"credit:{KEYS['r0.s0']}", "amount": chains.POOL, "why": "work"}
    ledger.append(round, "rewards", {"postings": [posting]})
    ledger.append(round, "weights", {"digest": chains.digest(f"weights {round}")})
    ledger.close_round(round)


def test_who_is_gone_a_second_time_must_be_to_blame(ledger):
    close_with_gone(ledger, 2, "r0.s1")
    close_with_gone(ledger, 3, "r0.s0")
    verify(ledger.path, chains.PlainBook)
    ledger.resume(2)
    close_with_gone(ledger, 3, "r0.s1", ["r0.s1"])
    verify(ledger.path, chains.PlainBook)
    ledger.resume(2)
    chains.before_commits(ledger, 3)
    gone(ledger, 3, "r0.s1", ["r0.s0"])
    with pytest.raises(Wrong, match=r"r0\.s1 was gone a second time .* and is not to blame"):
        verify(ledger.path, chains.PlainBook)


def test_a_resume_takes_back_that_a_node_was_gone(ledger):
    for _ in range(2):
        close_with_gone(ledger, 2, "r0.s1")
        ledger.resume(1)
    close_with_gone(ledger, 2, "r0.s1")
    verify(ledger.path, chains.PlainBook)


@pytest.mark.parametrize(
    ("node", "status", "sound"),
    [("r0.s1", "suspicious", True), ("r0.s1", "honest", False), ("r1.s0", "suspicious", False)],
)
def test_whose_own_repetitions_differ_has_a_seat_and_is_not_honest(ledger, node, status, sound):
    chains.before_commits(ledger, 2)
    ledger.append(2, "reveal", {"secret": chains.SECRET})
    said = {"replica": 0, "nodes": chains.SEATS["0"], "status": status, "reason": "", "blamed": [], "samples": 64}
    ledger.append(2, "verdict", said | {"erratic": [node]})
    with nullcontext() if sound else pytest.raises(Wrong, match=f"{node} did not find its own work again"):
        verify(ledger.path, chains.PlainBook)


def test_who_was_gone_under_another_name_is_known_by_its_key(ledger):
    close_with_gone(ledger, 2, "r0.s1")
    ledger.resume(2)
    swapped = KEYS | {"r0.s0": KEYS["r0.s1"], "r0.s1": KEYS["r0.s0"]}
    ledger.append(3, "roster", {"keys": swapped, "given": False, "refused": {}})
    chains.before_commits(ledger, 3)
    gone(ledger, 3, "r0.s0")
    with pytest.raises(Wrong, match=r"r0\.s0 was gone a second time"):
        verify(ledger.path, chains.PlainBook)
