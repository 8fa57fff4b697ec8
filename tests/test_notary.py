"""The notary, with a real ledger and real accounts, but no processes."""

import hashlib
import math
from pathlib import Path

import pytest
import torch

from tdml.cluster.messages import Commitment
from tdml.identity import Identity
from tdml.ledger.artifacts import Store
from tdml.ledger.chain import Ledger
from tdml.ledger.commit import commit_statement
from tdml.ledger.describe import describe
from tdml.ledger.verify import verify
from tdml.ledger.weights import digest_of_weights
from tdml.notary import Notary
from tdml.rewards.accounts import Book, book_of
from tdml.start_notary import begin
from tdml.trust.audit import CLEAN, LIED, UNSETTLED, Outcome, Ruling
from tdml.trust.blame import Blame
from tdml.trust.verdict import HONEST, MALICIOUS, SUSPICIOUS, Verdict
from tests.ledger.chains import COORDINATOR, JOB, KEYS, SEATS, digest, job_body

POOL = 1_000
BY_REPLICA = {0: SEATS["0"], 1: SEATS["1"]}
PUBLIC = {name: identity.public for name, identity in KEYS.items()}
MODEL = {"weight": torch.arange(3.0)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of the ledger."""
    return tmp_path / "ledger.db"


@pytest.fixture
def notary(path: Path):
    """At the start of a job."""
    ledger = Ledger.open(path, COORDINATOR, JOB)
    begin(ledger, job_body(), {"keys": PUBLIC, "given": False, "refused": {}})
    made = take_up(ledger, path)
    yield made
    made.close()


def take_up(ledger: Ledger, path: Path) -> Notary:
    """A notary that goes on with what is in the ledger."""
    book = book_of((entry.round, entry.kind, entry.body) for entry in ledger.entries())
    return Notary(ledger, book, Store(str(path.parent / "store")), COORDINATOR, JOB, PUBLIC)


def commitment(number: int, node: str, signer: Identity | None = None) -> Commitment:
    made = Commitment(digest(f"update {number} {node}"), "", "")
    statement = commit_statement(JOB, number, KEYS[node].public, node, made)
    message = statement.encode()
    return Commitment(made.update, made.states, (signer or KEYS[node]).sign(message))


def play(notary: Notary, number: int, **changes) -> None:
    """A whole round, in which all are honest unless `changes` say otherwise."""
    said = {
        "commitments": {i: [commitment(number, name) for name in names] for i, names in BY_REPLICA.items()},
        "suspicions": {}, "verdicts": {i: Verdict(HONEST) for i in BY_REPLICA}, "lost": {}, "outcomes": {},
        "refusals": [], "bans": {}, "samples": {0: 64, 1: 64}, "improvements": {},
        "weights": digest(f"weights {number}"),
    }  # fmt: skip
    notary.open_round(number, digest(f"weights {number - 1}"), BY_REPLICA)
    notary.close_round(number, BY_REPLICA, **said | changes)


def bodies(path: Path, kind: str, number: int | None = None) -> list[dict]:
    with Ledger.read(path) as reader:
        return [entry.body for entry in reader.entries(number, kind)]


def balances(path: Path) -> dict[str, int]:
    with Ledger.read(path) as reader:
        return book_of((entry.round, entry.kind, entry.body) for entry in reader.entries()).balances


LIE = Verdict(MALICIOUS, "audit", (1,), evidence=10.0, influence=0.0)
CONVICTED = {"verdicts": {0: Verdict(HONEST), 1: LIE}, "bans": {"r1.s1": "audit"}}


def test_run_without_an_attack_is_sound_and_pays_every_round(notary: Notary, path: Path) -> None:
    for number in (1, 2, 3):
        play(notary, number)
    summary = verify(path, Book)
    assert (summary.rounds, summary.ended, summary.weights) == (3, False, digest("weights 3"))
    paid = {name: balances(path)[f"credit:{key}"] for name, key in PUBLIC.items() if name != "spare0"}
    assert paid == {"r0.s0": 900, "r0.s1": 600, "r1.s0": 900, "r1.s1": 600}


def test_end_names_and_keeps_the_model(notary: Notary, path: Path) -> None:
    play(notary, 1, weights=digest_of_weights(MODEL))
    notary.end(MODEL, "all rounds done")
    assert verify(path, Book).ended
    assert bodies(path, "end") == [{"model": digest_of_weights(MODEL), "reason": "all rounds done"}]
    [kept] = [file for file in (path.parent / "store").rglob("*") if file.is_file()]
    tensors = Store(str(path.parent / "store")).get_tensors(kept.parent.name + kept.name)
    assert torch.equal(tensors["weight"], MODEL["weight"])


def test_secret_is_hidden_in_the_round_and_revealed_when_it_is_over(notary: Notary, path: Path) -> None:
    play(notary, 1)
    notary.open_round(2, digest("weights 1"), BY_REPLICA)
    [hidden], [told] = bodies(path, "round", 1), bodies(path, "reveal", 1)
    secret = bytes.fromhex(told["secret"])
    assert hidden["secret"] == hashlib.sha256(secret).hexdigest()
    assert notary.secret(1) == int.from_bytes(secret[:8], "big")
    assert bodies(path, "reveal", 2) == []


def test_secret_is_the_same_after_a_resume_and_another_in_every_round_and_job(notary: Notary, path: Path) -> None:
    secrets = [notary.secret(number) for number in (1, 2, 3)]
    assert len(set(secrets)) == 3
    notary.close()
    with Ledger.open(path, COORDINATOR, JOB) as ledger:
        again = take_up(ledger, path)
        assert [again.secret(number) for number in (1, 2, 3)] == secrets
    with Ledger.open(path.with_name("other.db"), COORDINATOR, "0" * 32) as ledger:
        other = Notary(ledger, Book(job_body(), {"keys": PUBLIC}), Store("memory://"), COORDINATOR, "0" * 32, PUBLIC)
        assert other.secret(1) not in secrets


def test_postings_follow_the_verdicts(notary: Notary, path: Path) -> None:
    """The partner of a convicted node is paid from its stake; what is left of that goes to the treasury."""
    play(notary, 1, **CONVICTED)
    key = PUBLIC["r1.s1"]
    assert bodies(path, "ban") == [{"node": "r1.s1", "key": key, "reason": "audit"}]
    [verdict] = [body for body in bodies(path, "verdict", 1) if body["replica"] == 1]
    assert (verdict["status"], verdict["blamed"]) == ("malicious", ["r1.s1"])
    found = balances(path)
    assert found[f"credit:{PUBLIC['r1.s0']}"] == found[f"credit:{PUBLIC['r0.s0']}"] == 300
    assert found[f"stake:{key}"] == 0 and f"credit:{key}" not in found
    assert found["treasury"] == 200 + 300 + 200  # of the stake of 500, of what it paid for, and the liar's share
    verify(path, Book)


def test_ban_is_written_once_however_late_the_node_offends_again(notary: Notary, path: Path) -> None:
    """An answer may come in when its node is banned already."""
    play(notary, 1, **CONVICTED)
    seats = {0: BY_REPLICA[0], 1: ["r1.s0", "spare0"]}
    changes = {"bans": {"r1.s1": "answered reveal with something else"}, "commitments": {}}
    notary.open_round(2, digest("weights 1"), seats)
    play_on = {"suspicions": {}, "verdicts": {0: Verdict(HONEST)}, "lost": {1: "late"}, "outcomes": {}, "refusals": []}
    notary.close_round(
        2, seats, **play_on, **changes, samples={}, improvements={}, weights=digest("weights 2")
    )  # fmt: skip
    assert len(bodies(path, "ban")) == 1
    assert verify(path, Book).rounds == 2
    [lost] = [body for body in bodies(path, "verdict", 2) if body["replica"] == 1]
    assert (lost["status"], lost["reason"], lost["samples"]) == ("lost", "late", 0)


def test_commit_with_a_bad_signature_leaves_nothing_of_the_round(notary: Notary, path: Path) -> None:
    forged = commitment(1, "r0.s1", signer=KEYS["r1.s0"])
    with pytest.raises(ValueError, match="signature"):
        play(notary, 1, commitments={0: [commitment(1, "r0.s0"), forged]})
    assert bodies(path, "commit") == bodies(path, "verdict") == []
    assert verify(path, Book).rounds == 0


def test_conviction_names_the_states_that_it_rests_on(notary: Notary, path: Path) -> None:
    exhibit = {"window0.stage1.claimed": torch.ones(4), "window0.stage1.repeated": torch.zeros(4)}
    ruling = Ruling(LIED, math.inf, math.inf, (0,), 0, (1,))
    lied = Outcome(LIED, "audit of window 0", (1,), True, {0: ruling}, exhibit)
    clean = Outcome(CLEAN, "", (), False, {1: Ruling(CLEAN, 0.0, 0.0, (1,), 1)})
    play(notary, 1, outcomes={1: lied, 0: clean}, **CONVICTED)
    first, second = bodies(path, "audit")
    assert (first["replica"], first["outcome"], first["artifacts"], first["windows"]) == (0, "clean", {}, [1])
    assert (second["outcome"], second["blamed"], second["validators"]) == ("lied", ["r1.s1"], {"0": [0]})
    assert [(found["error"], found["limit"]) for found in second["findings"]] == [("infinite", "infinite")]
    states = Store(str(path.parent / "store")).get_tensors(second["artifacts"]["states"])
    assert states.keys() == exhibit.keys() and all(torch.equal(states[name], exhibit[name]) for name in states)
    verify(path, Book)


def test_two_in_dispute_are_named_and_wait_for_their_pay(notary: Notary, path: Path) -> None:
    ruling = Ruling(UNSETTLED, 0.5, 1e-5, (0,), 0, (), {0: Blame((1,))}, ((1, 0),))
    outcome = Outcome(UNSETTLED, "audit", rulings={0: ruling}, disputes=((1, 0),))
    liar = Verdict(SUSPICIOUS, "contradicted", perjured=(1,))
    disputed = Verdict(SUSPICIOUS, "audit", disputes=((1, 0),), influence=0.0)
    play(notary, 1, outcomes={1: outcome}, verdicts={0: liar, 1: disputed})
    play(notary, 2)
    [audit] = bodies(path, "audit")
    assert audit["disputes"] == [["r1.s1", "r1.s0"]]
    assert audit["findings"][0]["contradicted"] == [0]
    lied, told = bodies(path, "verdict", 1)
    assert (lied["perjured"], lied["disputes"]) == (["r0.s1"], [])
    assert (told["perjured"], told["disputes"]) == ([], [["r1.s1", "r1.s0"]])
    with Ledger.read(path) as reader:
        shown = [describe(entry, {}) for entry in reader.entries(1)]
    assert any("replica 0 (r0.s0 r0.s1) suspicious" in line and "; lied as validators: r0.s1" in line for line in shown)
    assert sum("; in dispute: r1.s1 and r1.s0: audit" in line for line in shown) == 2
    held = {name: balances(path).get(f"held:{key}", 0) for name, key in PUBLIC.items()}
    assert held == {"r0.s0": 0, "r0.s1": 0, "r1.s0": 300, "r1.s1": 200, "spare0": 0}
    play(notary, 3, bans={"r1.s1": "elsewhere"})
    assert balances(path)[f"held:{PUBLIC['r1.s0']}"] == 0
    verify(path, Book)


def test_who_was_gone_is_named_and_waits_for_its_pay(notary: Notary, path: Path) -> None:
    play(
        notary, 1, outcomes={1: Outcome(UNSETTLED, "audit", absent=(1,))},
        verdicts={0: Verdict(HONEST), 1: Verdict(SUSPICIOUS, "audit", absent=(1,), influence=0.0)},
    )  # fmt: skip
    play(notary, 2)
    [audit] = bodies(path, "audit")
    assert audit["absent"] == ["r1.s1"]
    assert [body["absent"] for body in bodies(path, "verdict", 1)] == [[], ["r1.s1"]]
    with Ledger.read(path) as reader:
        shown = [describe(entry, {}) for entry in reader.entries(1)]
    assert sum("; gone: r1.s1: audit" in line for line in shown) == 2
    assert balances(path)[f"held:{PUBLIC['r1.s1']}"] == 200
    assert balances(path)[f"held:{PUBLIC['r1.s0']}"] == 0
    verify(path, Book)


def test_whose_own_repetitions_differ_is_named_and_never_paid_for_it(notary: Notary, path: Path) -> None:
    ruling = Ruling(UNSETTLED, 0.5, 1e-5, (0,), 0, unsteady=(0,), erratic=(1,))
    play(
        notary, 1, outcomes={1: Outcome(UNSETTLED, "audit", rulings={0: ruling}, erratic=(1,))},
        verdicts={0: Verdict(HONEST), 1: Verdict(SUSPICIOUS, "audit", erratic=(1,), influence=0.0)},
    )  # fmt: skip
    play(notary, 2)
    [audit] = bodies(path, "audit")
    assert (audit["erratic"], audit["findings"][0]["unsteady"]) == (["r1.s1"], [0])
    assert [body["erratic"] for body in bodies(path, "verdict", 1)] == [[], ["r1.s1"]]
    with Ledger.read(path) as reader:
        shown = [describe(entry, {}) for entry in reader.entries(1)]
    assert sum("; own repetitions differ: r1.s1: audit" in line for line in shown) == 2
    assert balances(path)[f"held:{PUBLIC['r1.s1']}"] == 200
    assert balances(path)[f"held:{PUBLIC['r1.s0']}"] == 0
    verify(path, Book)


def test_suspicions_evidence_and_refusals_are_written_where_there_are_any(notary: Notary, path: Path) -> None:
    judged = Verdict(HONEST, evidence=1.5, against=-0.5, judges=(1,))
    play(
        notary, 1, suspicions={0: "stage 0: wide"}, verdicts={0: judged, 1: Verdict(HONEST)},
        refusals=[("", "a call"), ("r0.s0", "no order")],
    )  # fmt: skip
    assert bodies(path, "suspicion") == [{"replica": 0, "nodes": SEATS["0"], "reason": "stage 0: wide"}]
    [evidence] = bodies(path, "evidence")
    assert (evidence["against"], evidence["total"], evidence["judges"]) == (-0.5, 1.5, [1])
    assert bodies(path, "refusal") == [{"node": "", "what": "a call"}, {"node": "r0.s0", "what": "no order"}]
    verify(path, Book)
