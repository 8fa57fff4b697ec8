"""The recorder, with a real ledger and real accounts, but no processes."""

import hashlib
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tdml.ledger.artifacts import ArtifactStore
from tdml.ledger.chain import Ledger
from tdml.ledger.commit import commit_statement
from tdml.ledger.describe import describe
from tdml.ledger.reader import read
from tdml.ledger.recorder import Recorder
from tdml.ledger.start_recorder import begin
from tdml.ledger.verify import verify
from tdml.ledger.weights import digest_of_weights
from tdml.members.identity import Identity
from tdml.rewards.accounts import Accounts, book_of
from tdml.round.engine import Round
from tdml.round.orders import Commitment
from tdml.round.settlement import Settlement
from tdml.trust.judgement import Audited, Judgement, Proof, lost
from tests.ledger.chains import COORDINATOR, JOB, KEYS, SLOTS, digest, job_body

POOL = 1_000
BY_REPLICA = {0: tuple(SLOTS["0"]), 1: tuple(SLOTS["1"])}
PUBLIC = {name: identity.public for name, identity in KEYS.items()}
MODEL = {"weight": torch.arange(3.0)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of the ledger."""
    return tmp_path / "ledger.db"


@pytest.fixture
def recorder(path: Path):
    """At the start of a job."""
    ledger = Ledger.open(path, COORDINATOR, JOB)
    begin(ledger, job_body(), {"keys": PUBLIC, "given": False, "refused": {}})
    made = take_up(ledger, path)
    yield made
    made.close()


def take_up(ledger: Ledger, path: Path) -> Recorder:
    """A recorder that goes on with what is in the ledger."""
    book = book_of((entry.round, entry.kind, entry.body) for entry in ledger.entries())
    return Recorder(
        ledger, book, ArtifactStore(str(path.parent / "store")), COORDINATOR, JOB, PUBLIC
    )


def commitment(number: int, node: str, signer: Identity | None = None) -> Commitment:
    made = Commitment(digest(f"update {number} {node}"), "", (), "")
    statement = commit_statement(JOB, number, KEYS[node].public, node, made)
    return replace(made, signature=(signer or KEYS[node]).sign(statement.encode()))


def honest(replica: int) -> Judgement:
    return Judgement(
        replica, BY_REPLICA[replica], "honest", weight=1.0, samples=64, distance=0.5, p=0.001
    )


def played(number: int, **changes) -> Round:
    """A round in which all are honest unless `changes` say otherwise."""
    said = {
        "commitments": {i: [commitment(number, name) for name in names] for i, names in BY_REPLICA.items()},
        "judgements": {i: honest(i) for i in BY_REPLICA}, "weights": digest(f"weights {number}"),
    }  # fmt: skip
    return Round(number, **{"slots": BY_REPLICA} | said | changes)


def play(recorder: Recorder, number: int, refusals=(), **changes) -> None:
    """Open it and close it."""
    round_ = played(number, **changes)
    recorder.open_round(number, digest(f"weights {number - 1}"), round_.slots)
    recorder.close_round(round_, refusals)


def bodies(path: Path, kind: str, number: int | None = None) -> list[dict]:
    with Ledger.read(path) as reader:
        return [entry.body for entry in reader.entries(number, kind)]


def balances(path: Path) -> dict[str, int]:
    with Ledger.read(path) as reader:
        return book_of((entry.round, entry.kind, entry.body) for entry in reader.entries()).balances


LIE = Judgement(
    1, BY_REPLICA[1], "malicious", "audit", blamed=("r1.s1",), samples=64, distance=math.inf
)
CONVICTED = {"judgements": {0: honest(0), 1: LIE}, "bans": {"r1.s1": "audit"}}


def test_run_without_an_attack_is_sound_and_pays_every_round(
    recorder: Recorder, path: Path
) -> None:
    for number in (1, 2, 3):
        play(recorder, number)
    summary = verify(path, Accounts)
    assert (summary.rounds, summary.ended, summary.weights) == (3, False, digest("weights 3"))
    paid = {
        name: balances(path)[f"credit:{key}"] for name, key in PUBLIC.items() if name != "spare0"
    }
    assert paid == {"r0.s0": 900, "r0.s1": 600, "r1.s0": 900, "r1.s1": 600}


def test_who_is_there_without_a_slot_is_said_to_stand_by(recorder: Recorder, path: Path) -> None:
    play(recorder, 1)
    recorder.open_round(2, digest("weights 1"), {0: BY_REPLICA[0]}, present=PUBLIC)
    assert "standby" not in bodies(path, "round", 1)[0]
    assert bodies(path, "round", 2)[0]["standby"] == ["r1.s0", "r1.s1", "spare0"]
    verify(path, Accounts)


def test_who_takes_fewer_steps_is_said_before_the_work(recorder: Recorder, path: Path) -> None:
    play(recorder, 1)
    recorder.open_round(2, digest("weights 1"), BY_REPLICA, fewer={1: 3})
    assert "steps" not in bodies(path, "round", 1)[0]
    assert bodies(path, "round", 2)[0]["steps"] == {"1": 3}
    with read(path) as ledger:
        assert describe(ledger.entries()[-1], {}).endswith("; fewer steps: replica 1 3")
    verify(path, Accounts)


def test_end_names_and_keeps_the_model(recorder: Recorder, path: Path) -> None:
    play(recorder, 1, weights=digest_of_weights(MODEL))
    recorder.end(MODEL, "all rounds done")
    assert verify(path, Accounts).ended
    assert bodies(path, "end") == [{"model": digest_of_weights(MODEL), "reason": "all rounds done"}]
    [kept] = [file for file in (path.parent / "store").rglob("*") if file.is_file()]
    tensors = ArtifactStore(str(path.parent / "store")).get_tensors(kept.parent.name + kept.name)
    assert torch.equal(tensors["weight"], MODEL["weight"])


def test_secret_is_hidden_in_the_round_and_revealed_when_it_is_over(
    recorder: Recorder, path: Path
) -> None:
    play(recorder, 1)
    recorder.open_round(2, digest("weights 1"), BY_REPLICA)
    [hidden], [told] = bodies(path, "round", 1), bodies(path, "reveal", 1)
    secret = bytes.fromhex(told["secret"])
    assert hidden["secret"] == hashlib.sha256(secret).hexdigest()
    assert recorder.secret(1) == int.from_bytes(secret[:8], "big")
    assert bodies(path, "reveal", 2) == []


def test_secret_is_another_in_every_round_and_job_and_each_time_that_a_round_is_played(
    recorder: Recorder, path: Path
) -> None:
    first, second, third = (recorder.secret(number) for number in (1, 2, 3))
    play(recorder, 1)
    told = recorder.secret(1)
    recorder.open_round(2, digest("weights 1"), BY_REPLICA)
    unused = recorder.secret(2)
    recorder.close()
    with Ledger.open(path, COORDINATOR, JOB) as ledger:
        ledger.resume(1)
        again = take_up(ledger, path)
        again.open_round(2, digest("weights 1"), BY_REPLICA)
        assert again.secret(1) == told, "what is revealed stays"
        replayed = again.secret(2)
    with Ledger.open(path.with_name("other.db"), COORDINATOR, "0" * 32) as ledger:
        other = Recorder(
            ledger,
            Accounts(job_body(), {"keys": PUBLIC}),
            ArtifactStore("memory://"),
            COORDINATOR,
            "0" * 32,
            PUBLIC,
        )
        elsewhere = other.secret(1)
    assert len({first, second, third, told, unused, replayed, elsewhere}) == 7


def test_postings_follow_the_verdicts(recorder: Recorder, path: Path) -> None:
    """The partner of a convicted node is paid from its stake; what is left of that goes to the
    treasury."""
    play(recorder, 1, **CONVICTED)
    key = PUBLIC["r1.s1"]
    assert bodies(path, "ban") == [{"node": "r1.s1", "key": key, "reason": "audit"}]
    [verdict] = [body for body in bodies(path, "verdict", 1) if body["replica"] == 1]
    assert (verdict["status"], verdict["blamed"]) == ("malicious", ["r1.s1"])
    found = balances(path)
    assert found[f"credit:{PUBLIC['r1.s0']}"] == found[f"credit:{PUBLIC['r0.s0']}"] == 300
    assert found[f"stake:{key}"] == 0 and f"credit:{key}" not in found
    # of the stake of 500, of what it paid for, and the liar's share
    assert found["treasury"] == 200 + 300 + 200
    verify(path, Accounts)


def test_ban_is_written_once_however_late_the_node_offends_again(
    recorder: Recorder, path: Path
) -> None:
    """An answer may come in when its node is banned already."""
    play(recorder, 1, **CONVICTED)
    slots = {0: BY_REPLICA[0], 1: ("r1.s0", "spare0")}
    judgements = {0: honest(0), 1: lost(1, slots[1], "late")}
    bans = {"r1.s1": "answered reveal with something else"}
    play(recorder, 2, slots=slots, judgements=judgements, bans=bans, commitments={})
    assert len(bodies(path, "ban")) == 1
    assert verify(path, Accounts).rounds == 2
    [late] = [body for body in bodies(path, "verdict", 2) if body["replica"] == 1]
    assert (late["status"], late["reason"], late["samples"]) == ("lost", "late", 0)


def test_commit_with_a_bad_signature_leaves_nothing_of_the_round(
    recorder: Recorder, path: Path
) -> None:
    forged = commitment(1, "r0.s1", signer=KEYS["r1.s0"])
    with pytest.raises(ValueError, match="signature"):
        play(recorder, 1, commitments={0: [commitment(1, "r0.s0"), forged]})
    assert bodies(path, "commit") == bodies(path, "verdict") == []
    assert verify(path, Accounts).rounds == 0


def test_a_verdict_says_what_it_rests_on(recorder: Recorder, path: Path) -> None:
    doubted = Judgement(
        1,
        BY_REPLICA[1],
        "suspicious",
        "not seen working",
        0.25,
        0.5,
        samples=32,
        improvement=-7,
        distance=1.5,
        p=0.5,
    )
    play(recorder, 1, judgements={1: doubted, 0: replace(honest(0), p=None)})
    first, second = bodies(path, "verdict")
    assert (first["replica"], first["status"], first["weight"], first["scale"], first["p"]) == (
        0,
        "honest",
        1,
        1,
        None,
    )
    assert second == {
        "replica": 1, "nodes": ["r1.s0", "r1.s1"], "status": "suspicious",
        "reason": "not seen working", "blamed": [], "proven": False, "weight": 0.25, "scale": 0.5, "distance": 1.5,
        "p": 0.5, "samples": 32, "improvement": -7,
    }  # fmt: skip
    verify(path, Accounts)


def test_pay_of_a_suspect_is_held_back_until_an_honest_round(
    recorder: Recorder, path: Path
) -> None:
    play(
        recorder,
        1,
        judgements={0: honest(0), 1: replace(honest(1), status="suspicious", weight=0.5)},
    )
    assert balances(path)[f"held:{PUBLIC['r1.s1']}"] == 200
    play(recorder, 2)
    assert balances(path)[f"held:{PUBLIC['r1.s1']}"] == 0
    assert balances(path)[f"credit:{PUBLIC['r1.s1']}"] == 400
    verify(path, Accounts)


def test_conviction_names_what_recomputation_has_found(recorder: Recorder, path: Path) -> None:
    truth = {"truth0": torch.ones(4), "truth1": torch.zeros(2)}
    place = "the state of stage 1 after step 2 of replica 1"
    settled = Settlement(1, 2, 0, (Proof(("r1.s1",), "audit"),), place=place, exhibit=truth)
    unsettled = Settlement(1, 0, None, unsettled="nobody shows the step")
    audits = {
        1: Audited(clean=(1,), lied=(2,), validators={2: 0, 0: None, 1: 0}),
        0: Audited(clean=(1,), validators={1: 1}),
    }
    play(recorder, 1, audits=audits, settlements=[unsettled, settled], **CONVICTED)
    first, second = bodies(path, "audit")
    assert first == {
        "replica": 0, "nodes": ["r0.s0", "r0.s1"], "outcome": "clean", "reason": "",
        "validators": {"1": 1},
        "disputes": [],
    }  # fmt: skip
    assert (second["replica"], second["outcome"]) == (1, "lied")
    assert second["validators"] == {"0": None, "1": 0, "2": 0}
    vain, proven = second["disputes"]
    assert (vain["window"], vain["validator"], vain["blamed"], vain["artifacts"]) == (
        0,
        None,
        [],
        {},
    )
    assert (vain["unsettled"], proven["unsettled"]) == ("nobody shows the step", "")
    assert (proven["window"], proven["validator"], proven["place"], proven["blamed"]) == (
        2,
        0,
        place,
        ["r1.s1"],
    )
    kept = ArtifactStore(str(path.parent / "store")).get_tensors(proven["artifacts"]["truth"])
    assert kept.keys() == truth.keys() and all(
        torch.equal(kept[name], truth[name]) for name in kept
    )
    [verdict] = [body for body in bodies(path, "verdict") if body["replica"] == 1]
    assert verdict["distance"] is None, "JSON knows no infinity"
    verify(path, Accounts)


def test_an_audit_that_was_not_settled_says_why(recorder: Recorder, path: Path) -> None:
    why = "audit: it has not shown its work: r1.s0: no answer"
    play(recorder, 1, audits={1: Audited(unsettled=why)})
    [audit] = bodies(path, "audit")
    assert (audit["outcome"], audit["reason"], audit["validators"]) == ("unsettled", why, {})


def test_refusals_are_written_where_there_are_any(recorder: Recorder, path: Path) -> None:
    play(recorder, 1, refusals=[("", "a call"), ("r0.s0", "no order")])
    assert bodies(path, "refusal") == [
        {"node": "", "what": "a call"},
        {"node": "r0.s0", "what": "no order"},
    ]
    verify(path, Accounts)
