"""Ledgers that are sound, and what is found in those that are not."""

import pytest
import torch

from tdml.errors import SettingError
from tdml.ledger.chain import Ledger
from tdml.ledger.reader import read
from tdml.ledger.verify import Wrong, verify
from tdml.protocol.statement import Statement
from tests.ledger import chains

MODEL = {"weight": torch.tensor([1.0, 2.0])}


def test_a_whole_run_is_well(tmp_path):
    chains.write(tmp_path / "ledger.db")
    summary = verify(tmp_path / "ledger.db", chains.PlainBook)
    with read(tmp_path / "ledger.db") as reader:
        last = reader.entries()[-1]
    assert (summary.entries, summary.rounds, summary.ended) == (last.index + 1, 3, True)
    assert (summary.root, summary.weights) == (last.body["root"], chains.digest("weights 3"))


def test_a_run_that_goes_on_is_well(ledger):
    assert verify(ledger.path, chains.PlainBook).ended is False
    chains.before_commits(ledger, 2)
    chains.commit(ledger, 2, "r0.s0")
    summary = verify(ledger.path, chains.PlainBook)
    assert (summary.rounds, summary.ended, summary.root) == (
        1,
        False,
        ledger.entries(kind="root")[-1].body["root"],
    )


@pytest.mark.parametrize("goes_back", [False, True])
def test_who_joins_is_in_a_roster_before_the_round(ledger, goes_back):
    if goes_back:
        ledger.roll_back(1, "planted")
    chains.join(ledger, "spare1")
    chains.before_commits(ledger, 2)
    chains.commit(ledger, 2, "r0.s0")
    assert verify(ledger.path, chains.PlainBook).rounds == 1


@pytest.mark.parametrize("joins", [False, True])
def test_a_run_that_was_cut_off_before_it_went_back_does_so_when_it_is_resumed(ledger, joins):
    """What the rollback leaves as it is, the new roster among it, holds."""
    ledger.resume(1)
    if joins:
        chains.join(ledger, "spare1")
    ledger.roll_back(0, "planted")
    chains.before_commits(ledger, 1)
    chains.commit(ledger, 1, "r0.s0")
    assert verify(ledger.path, chains.PlainBook).rounds == 0


def test_a_run_may_end_where_it_has_gone_back_to(ledger):
    """As one that is resumed with less of `train.patience`, and was cut off before it went back."""
    ledger.resume(1)
    ledger.roll_back(0, "planted")
    ledger.end(chains.digest("weights 0"), "no better")
    assert verify(ledger.path, chains.PlainBook).ended


def test_no_run_goes_back_in_the_middle_of_a_round(ledger):
    chains.before_commits(ledger, 2)
    ledger.roll_back(0, "planted")
    assert "another round is open" in chains.fault_of(ledger)


def test_who_was_banned_is_so_when_the_run_has_gone_back(ledger):
    ledger.roll_back(0, "planted")
    chains.before_commits(ledger, 1)
    chains.commit(ledger, 1, "r1.s1")
    assert "r1.s1 is banned" in chains.fault_of(ledger)


def test_what_was_written_of_a_round_that_was_broken_off_is_under_no_root(ledger):
    chains.before_commits(ledger, 2)
    ledger.resume(1)
    ledger.end(chains.digest("weights 1"), "done")
    assert verify(ledger.path, chains.PlainBook).ended


def test_a_resumed_run_that_had_ended_has_not_ended(ledger):
    ledger.end(chains.digest("weights 1"), "done")
    assert verify(ledger.path, chains.PlainBook).ended
    ledger.resume(1)
    assert not verify(ledger.path, chains.PlainBook).ended
    ledger.end(chains.digest("weights 1"), "done")
    assert verify(ledger.path, chains.PlainBook).ended


def test_an_empty_ledger_is_wrong(tmp_path):
    with Ledger.open(tmp_path / "ledger.db", chains.COORDINATOR, chains.JOB):
        pass
    with pytest.raises(Wrong, match="the ledger is empty"):
        verify(tmp_path / "ledger.db", chains.PlainBook)


def test_the_first_entry_is_the_job_of_its_author(tmp_path):
    with Ledger.open(tmp_path / "a.db", chains.COORDINATOR, chains.JOB) as made:
        made.append(0, "refusal", {"node": "", "what": ""})
        assert chains.fault_of(made) == "the first entry is no job"
    with Ledger.open(tmp_path / "b.db", chains.COORDINATOR, chains.JOB) as made:
        made.append(0, "job", chains.job_body() | {"coordinator": chains.PUBLIC["r0.s0"]})
        assert chains.fault_of(made) == "the job is not that of its coordinator"
    stranger = chains.key(9)
    with Ledger.open(tmp_path / "c.db", stranger, chains.JOB) as made:
        made.append(0, "job", chains.job_body() | {"coordinator": stranger.public})
        assert chains.fault_of(made) == "the job is not that of its coordinator"
    with Ledger.open(tmp_path / "d.db", stranger, chains.JOB) as made:
        made.append(0, "job", chains.job_body())
        assert chains.fault_of(made) == "its author is not the coordinator"


def test_a_run_that_begins_anew_begins_with_the_same_weights(ledger):
    ledger.resume(0)
    chains.before_commits(ledger, 1)
    verify(ledger.path, chains.PlainBook)
    ledger.resume(0)
    chains.before_commits(ledger, 1, weights="ab" * 32)
    text = "it does not start from the weights with which the round before ended"
    assert chains.fault_of(ledger) == text


def test_a_resume_takes_back_money_and_weights(ledger):
    ledger.resume(0)
    slots = {"0": chains.SLOTS["0"], "1": ["r1.s0", "spare0"]}
    chains.before_commits(ledger, 1, slots)
    chains.commit_all(ledger, 1, slots)
    chains.after_commits(ledger, 1, weights="ab" * 32, slots=slots)
    chains.before_commits(ledger, 2, weights="ab" * 32)
    books = []

    def keep(job, roster):
        books.append(chains.PlainBook(job, roster))
        return books[0]

    verify(ledger.path, keep)
    assert books[0].paid == chains.POOL


def test_a_ban_outlives_its_round(ledger):
    """Who can end the coordinator in the very second could undo it."""
    ledger.resume(0)
    chains.before_commits(ledger, 1)
    chains.commit(ledger, 1, "r1.s1")
    assert chains.fault_of(ledger) == "r1.s1 is banned"


def test_a_resumed_run_may_have_other_keys_but_a_banned_key_stays_banned(ledger):
    ledger.resume(1)
    newcomer = chains.key(99)
    keys = chains.PUBLIC | {
        "r0.s0": newcomer.public,
        "spare0": chains.PUBLIC["r1.s1"],
    }  # the banned key takes another name
    ledger.append(2, "roster", {"keys": keys, "given": False, "refused": {}})
    chains.before_commits(ledger, 2, {"0": ["r0.s0", "r0.s1"], "1": ["r1.s0", "spare0"]})
    chains.commit(ledger, 2, "r0.s0", newcomer)
    verify(ledger.path, chains.PlainBook)
    chains.commit(ledger, 2, "spare0", chains.KEYS["r1.s1"])
    assert chains.fault_of(ledger) == "spare0 is banned"


def test_a_void_roster_does_not_count(ledger):
    newcomer = chains.key(99)
    ledger.resume(1)
    ledger.append(
        2,
        "roster",
        {"keys": chains.PUBLIC | {"r0.s0": newcomer.public}, "given": False, "refused": {}},
    )
    ledger.resume(1)
    chains.before_commits(ledger, 2)
    verify(ledger.path, chains.PlainBook)
    chains.commit(ledger, 2, "r0.s0", newcomer)
    assert chains.fault_of(ledger) == "its author is not r0.s0"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("verdict", {}),
        ("ban", {"node": 3}),
        ("gossip", {}),
        ("rewards", {"postings": [{}]}),
        ("weights", []),
    ],
)
def test_a_body_of_another_form_is_found_though_well_signed(ledger, monkeypatch, kind, body):
    chains.before_commits(ledger, 2)
    with monkeypatch.context() as patch:
        patch.setattr("tdml.ledger.bodies.check", lambda *_: None)
        index = ledger.append(2, kind, body).index
    with pytest.raises(Wrong, match=f"^entry {index}: "):
        verify(ledger.path, chains.PlainBook)
    with (
        read(ledger.path) as reader,
        pytest.raises(SettingError, match=f"damaged at entry {index}: "),
    ):
        reader.entries()


def test_an_entry_of_another_job_is_found_though_well_signed(ledger):
    ledger._job = "other"
    chains.before_commits(ledger, 2)
    assert chains.fault_of(ledger) == "it is of another job"


def test_the_coordinator_cannot_invent_a_commit(ledger):
    chains.before_commits(ledger, 2)
    body = {"node": "r0.s0", "play": chains.PLAY, "update": "ab" * 32, "states": ""}
    statement = Statement(chains.JOB, 2, "commit", chains.PUBLIC["r0.s0"], body)
    ledger._add(statement, chains.COORDINATOR.sign(statement.encode()))
    assert chains.fault_of(ledger) == "it is not signed by its author"
