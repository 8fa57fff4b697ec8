"""What the recorder writes of verdicts, bans and money."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tdml.ledger.describe import describe
from tdml.ledger.reader import read
from tdml.ledger.verify import verify
from tdml.ledger.weights import digest_of_weights
from tdml.rewards.accounts import Accounts
from tdml.round.recorder import Recorder
from tdml.round.settlement import Settlement
from tdml.trust.judgement import Audited, Judgement, Proof, lost
from tests.ledger.chains import PUBLIC
from tests.ledger.recorders import (
    BY_REPLICA,
    CONVICTED,
    MODEL,
    balances,
    bodies,
    honest,
    play,
    take_up,
)
from tests.ledger.stored import tensors


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
    assert found["treasury"] == 500 - 300
    assert found["mint"] == -(300 + 200)  # the other replica's
    verify(path, Accounts)


def test_ban_is_written_once_however_late_the_node_offends_again(
    recorder: Recorder, path: Path
) -> None:
    """An answer may come in when its node is banned already."""
    play(recorder, 1, **CONVICTED)
    slots = {0: BY_REPLICA[0], 1: ("r1.s0", "spare0")}
    judgements = {0: honest(0), 1: lost(1, slots[1], "late")}
    bans = {"r1.s1": "answered reveal with something else"}
    play(recorder, 2, slots=slots, judgements=judgements, bans=bans)
    assert len(bodies(path, "ban")) == 1
    assert verify(path, Accounts).rounds == 2
    [late] = [body for body in bodies(path, "verdict", 2) if body["replica"] == 1]
    assert (late["status"], late["reason"], late["samples"]) == ("lost", "late", 0)


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


def test_a_verdict_says_how_much_chance_had_repeated_and_found(
    recorder: Recorder, path: Path
) -> None:
    play(recorder, 1, judgements={0: honest(0), 1: replace(honest(1), repeated=24)})
    first, second = bodies(path, "verdict")
    assert "repeated" not in first and second["repeated"] == 24
    with read(path) as reader:
        texts = [describe(entry, {}) for entry in reader.entries("verdict")]
    assert [", 24 repeated by chance" in text for text in texts] == [False, True]
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
    settled = Settlement(
        1, 2, 0, (Proof(("r1.s1",), "audit"),), place=place, artifacts=recorder.keep(truth)
    )
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
    kept = tensors(str(path.parent / "store"), proven["artifacts"]["truth"])
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


def test_who_is_forgiven_stands_in_the_verdict_and_loses_what_was_held_back(
    recorder: Recorder, path: Path
) -> None:
    silent = replace(honest(1), status="suspicious", weight=0.0)
    play(recorder, 1, judgements={0: honest(0), 1: silent})
    play(recorder, 2, forgiven=("r1.s1",))
    assert [body.get("forgiven") for body in bodies(path, "verdict")] == [
        None,
        None,
        None,
        ["r1.s1"],
    ]
    assert balances(path)[f"credit:{PUBLIC['r1.s1']}"] == 200
    assert balances(path)[f"credit:{PUBLIC['r1.s0']}"] == 600
    verify(path, Accounts)


def test_what_was_not_found_again_stands_in_the_verdict_and_is_not_paid(
    recorder: Recorder, path: Path
) -> None:
    refused = replace(honest(1), status="suspicious", weight=0.0, unfound=True)
    play(recorder, 1, judgements={0: honest(0), 1: refused})
    assert [body.get("unfound") for body in bodies(path, "verdict")] == [None, True]
    assert not {f"{kind}:{PUBLIC['r1.s1']}" for kind in ("held", "credit")} & balances(path).keys()
    verify(path, Accounts)


@pytest.mark.parametrize("resumes", [1, 2])
@pytest.mark.parametrize("goes_back", [False, True])
def test_a_ban_outlives_its_round_and_so_does_the_loss_of_the_stake(
    resumes: int, goes_back: bool, recorder: Recorder, path: Path
) -> None:
    """Who can end the coordinator in the very second could undo it."""
    play(recorder, 1)
    play(recorder, 2, **CONVICTED)
    ledger = recorder._ledger
    for _ in range(resumes):
        ledger.resume(1)
        recorder = take_up(ledger, path)
        assert recorder._book.convicted == {PUBLIC["r1.s1"]}
    number = 2
    if goes_back:
        recorder.roll_back(0, "it lied")
        number = 1
        ledger.resume(0)
        recorder = take_up(ledger, path)
    slots = {0: BY_REPLICA[0], 1: ("r1.s0", "spare0")}
    bans = {"r1.s1": "answers still"}
    judgements = {0: honest(0), 1: lost(1, slots[1], "late")}
    play(recorder, number, slots=slots, bans=bans, judgements=judgements)
    assert balances(path)[f"stake:{PUBLIC['r1.s1']}"] == 0
    assert len(bodies(path, "ban")) == 1
    verify(path, Accounts)


@pytest.mark.parametrize("owing", [False, True])
def test_with_the_end_what_was_held_back_is_paid_to_whom_has_nothing_left_to_show(
    owing: bool, recorder: Recorder, path: Path
) -> None:
    doubted = replace(honest(1), status="suspicious", weight=0.5)
    play(recorder, 1, judgements={0: honest(0), 1: doubted}, weights=digest_of_weights(MODEL))
    keys = [PUBLIC["r1.s0"]] if owing else []
    recorder.end(1, digest_of_weights(MODEL), "all rounds done", keys)
    assert bodies(path, "end")[0].get("owing", []) == keys
    found = balances(path)
    assert found[f"credit:{PUBLIC['r1.s1']}"] == 200
    assert found[f"held:{PUBLIC['r1.s0']}"] == (300 if owing else 0)
    assert verify(path, Accounts).ended
