import pytest
import torch

from tdml.errors import SettingError
from tdml.ledger.chain import Ledger
from tdml.ledger.statement import Statement
from tdml.ledger.verify import Wrong, verify
from tests.ledger import chains

KEY = {name: identity.public for name, identity in chains.KEYS.items()}
MODEL = {"weight": torch.tensor([1.0, 2.0])}


@pytest.fixture
def ledger(tmp_path):
    """A ledger with rounds 0 and 1, in the second of which r1.s1 was banned."""
    with Ledger.open(tmp_path / "ledger.db", chains.COORDINATOR, chains.JOB) as made:
        chains.begin(made)
        chains.play(made, 1, blamed=["r1.s1"])
        yield made


def found(ledger):
    """What is wrong with it, without the entry's number."""
    with pytest.raises(Wrong) as error:
        verify(ledger.path, chains.PlainBook)
    number, _, text = str(error.value).partition(": ")
    assert number.startswith(f"entry {ledger.entries()[-1].index} ("), error.value
    return text


def test_a_whole_run_is_well(tmp_path):
    chains.write(tmp_path / "ledger.db")
    summary = verify(tmp_path / "ledger.db", chains.PlainBook)
    with Ledger.read(tmp_path / "ledger.db") as reader:
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


def join(ledger, *names):
    """Some have come before round 2."""
    keys = KEY | {name: chains.digest(name) for name in names}
    ledger.append(2, "roster", {"keys": keys, "given": False, "refused": {}})


@pytest.mark.parametrize("goes_back", [False, True])
def test_who_joins_is_in_a_roster_before_the_round(ledger, goes_back):
    if goes_back:
        ledger.roll_back(1, "planted")
    join(ledger, "spare1")
    chains.before_commits(ledger, 2)
    chains.commit(ledger, 2, "r0.s0")
    assert verify(ledger.path, chains.PlainBook).rounds == 1


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
        assert found(made) == "the first entry is no job"
    with Ledger.open(tmp_path / "b.db", chains.COORDINATOR, chains.JOB) as made:
        made.append(0, "job", chains.job_body() | {"coordinator": KEY["r0.s0"]})
        assert found(made) == "its author is not the coordinator"


PLACES = {
    "round 0 once more": (chains.begin, "it is of round 0, but round 2 comes here"),
    "another job": (lambda x: x.append(2, "job", chains.job_body()), "no job may stand here"),
    "another roster": (
        lambda x: x.append(2, "roster", {"keys": {}, "given": True, "refused": {}}),
        "r0.s0 had another key before",
    ),
    "two rosters": (
        lambda x: (join(x, "spare1"), join(x, "spare1", "spare2")),
        "no roster may stand here",
    ),
    "an end after a roster": (
        lambda x: (join(x, "spare1"), x.end(chains.digest("weights 1"), "")),
        "no end may stand here",
    ),
    "a round left out": (lambda x: chains.before_commits(x, 3), "it is of round 3, but round 2 comes here"),
    "a round twice": (lambda x: chains.before_commits(x, 1), "it is of round 1, but round 2 comes here"),
    "a round without a beginning": (lambda x: chains.commit(x, 2, "r0.s0"), "no commit may stand here"),
    "a resume after an open round": (lambda x: x.resume(2), "it goes on after round 2, which is not closed"),
    "a resume of another round": (
        lambda x: x.append(2, "resume", {"after": 0}),
        "it is of round 2, but round 1 comes here",
    ),
    "a refusal before a round": (lambda x: (x.resume(1), refusal(x)), "no refusal may stand here"),
    "another model": (
        lambda x: x.append(2, "end", {"model": "ab" * 32, "reason": ""}),
        "the model is not that of the last round",
    ),
    "after the end": (
        lambda x: (x.end(chains.digest("weights 1"), ""), chains.before_commits(x, 3)),
        "no round may stand here",
    ),
    "a resume after the end's round": (
        lambda x: (x.end(chains.digest("weights 1"), ""), x.resume(2)),
        "it goes on after round 2, which is not closed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PLACES)
def test_rounds_follow_each_other(ledger, case):
    act, text = PLACES[case]
    act(ledger)
    with pytest.raises(Wrong, match=text):
        verify(ledger.path, chains.PlainBook)


def refusal(ledger):
    ledger.append(2, "refusal", {"node": "", "what": "noise"})


IN_A_ROUND = {
    "no slot": (lambda x: chains.commit(x, 2, "spare0"), "spare0 has no slot in this round"),
    "another's key": (lambda x: chains.commit(x, 2, "r0.s0", chains.KEYS["r0.s1"]), "its author is not r0.s0"),
    "the coordinator's key": (lambda x: chains.commit(x, 2, "r0.s0", chains.COORDINATOR), "its author is not r0.s0"),
    "banned": (lambda x: chains.commit(x, 2, "r1.s1"), "r1.s1 is banned"),
    "twice": (lambda x: (chains.commit(x, 2, "r0.s0"), chains.commit(x, 2, "r0.s0")), "r0.s0 commits twice"),
    "another secret": (
        lambda x: x.append(2, "reveal", {"secret": "cd" * 32}),
        "the secret is not the one that the round had committed to",
    ),
    "too late": (
        lambda x: (x.append(2, "reveal", {"secret": chains.SECRET}), refusal(x), chains.commit(x, 2, "r0.s0")),
        "this commit comes too late",
    ),
    "two secrets": (
        lambda x: [x.append(2, "reveal", {"secret": chains.SECRET}) for _ in range(2)],
        "the round has a reveal already",
    ),
    "no weights": (
        lambda x: (x.append(2, "reveal", {"secret": chains.SECRET}), x.close_round(2)),
        "the round has no weights",
    ),
    "no reveal": (
        lambda x: (x.append(2, "weights", {"digest": "ab" * 32}), x.close_round(2)),
        "the round has no reveal",
    ),
    "another roster": (
        lambda x: x.append(2, "roster", {"keys": KEY, "given": True, "refused": {}}),
        "no roster may stand here",
    ),
    "wrong count": (
        lambda x: (chains_tail(x), x.append(2, "root", {"entries": 9, "root": "ab" * 32})),
        "it speaks of 9 entries, but the round has 4",
    ),
    "wrong root": (
        lambda x: (chains_tail(x), x.append(2, "root", {"entries": 4, "root": "ab" * 32})),
        "it is not the root of the round's entries",
    ),
    "end in a round": (
        lambda x: x.append(2, "end", {"model": chains.digest("weights 1"), "reason": ""}),
        "no end may stand here",
    ),
    "another's key banned": (
        lambda x: x.append(2, "ban", {"node": "r0.s0", "key": KEY["r0.s1"], "reason": ""}),
        "the key is not that of r0.s0",
    ),
    "banned twice": (
        lambda x: x.append(2, "ban", {"node": "r1.s1", "key": KEY["r1.s1"], "reason": ""}),
        "r1.s1 is banned already",
    ),
    "two verdicts": (
        lambda x: [x.append(2, "verdict", chains.verdict()) for _ in range(2)],
        "replica 0 has two verdicts",
    ),
    "blamed in another replica": (
        lambda x: x.append(2, "verdict", chains.verdict(status="malicious", blamed=["r1.s0"])),
        "r1.s0 is blamed but has no slot in the replica",
    ),
    "false money": (
        lambda x: x.append(2, "rewards", {"postings": []}),
        "0 units are paid, not 1000",
    ),
}  # fmt: skip


def chains_tail(ledger):
    posting = {"from": "mint", "to": f"credit:{KEY['r0.s0']}", "amount": chains.POOL, "why": "work"}
    ledger.append(2, "reveal", {"secret": chains.SECRET})
    ledger.append(2, "rewards", {"postings": [posting]})
    ledger.append(2, "weights", {"digest": "ab" * 32})


@pytest.mark.parametrize("case", IN_A_ROUND)
def test_what_a_round_may_not_hold(ledger, case):
    act, text = IN_A_ROUND[case]
    chains.before_commits(ledger, 2)
    verify(ledger.path, chains.PlainBook)
    act(ledger)
    assert found(ledger) == text


@pytest.mark.parametrize(
    ("slots", "weights", "text"),
    [
        ({"0": ["r0.s0", "r9.s9"]}, None, "r9.s9 takes part but is not in the roster"),
        ({"0": ["r0.s0", "r0.s0"]}, None, "a node has two slots"),
        (
            chains.SLOTS,
            "ab" * 32,
            "it does not start from the weights with which the round before ended",
        ),
    ],
)
def test_how_a_round_may_not_begin(ledger, slots, weights, text):
    chains.before_commits(ledger, 2, slots, weights)
    assert found(ledger) == text


def test_a_refused_node_does_not_commit(tmp_path):
    with Ledger.open(tmp_path / "ledger.db", chains.COORDINATOR, chains.JOB) as made:
        made.append(0, "job", chains.job_body())
        made.append(0, "roster", {"keys": KEY, "given": True, "refused": {"r0.s0": "another key"}})
        made.append(0, "rewards", {"postings": []})
        made.close_round(0)
        chains.before_commits(made, 1)
        chains.commit(made, 1, "r0.s0")
        assert found(made) == "r0.s0 is banned"


def test_a_resume_takes_back_money_bans_and_weights(ledger):
    ledger.resume(0)
    chains.before_commits(ledger, 1)
    chains.commit(ledger, 1, "r1.s1")  # its ban is void
    chains.after_commits(ledger, 1, weights="ab" * 32)
    chains.before_commits(ledger, 2, weights="ab" * 32)
    books = []

    def keep(job, roster):
        books.append(chains.PlainBook(job, roster))
        return books[0]

    verify(ledger.path, keep)
    assert books[0].paid == chains.POOL


def test_a_resumed_run_may_have_other_keys_but_a_banned_key_stays_banned(ledger):
    ledger.resume(1)
    newcomer = chains.key(99)
    keys = KEY | {
        "r0.s0": newcomer.public,
        "spare0": KEY["r1.s1"],
    }  # the banned key takes another name
    ledger.append(2, "roster", {"keys": keys, "given": False, "refused": {}})
    chains.before_commits(ledger, 2, {"0": ["r0.s0", "r0.s1"], "1": ["r1.s0", "spare0"]})
    chains.commit(ledger, 2, "r0.s0", newcomer)
    verify(ledger.path, chains.PlainBook)
    chains.commit(ledger, 2, "spare0", chains.KEYS["r1.s1"])
    assert found(ledger) == "spare0 is banned"


def test_a_void_roster_does_not_count(ledger):
    newcomer = chains.key(99)
    ledger.resume(1)
    ledger.append(
        2, "roster", {"keys": KEY | {"r0.s0": newcomer.public}, "given": False, "refused": {}}
    )
    ledger.resume(1)
    chains.before_commits(ledger, 2)
    verify(ledger.path, chains.PlainBook)
    chains.commit(ledger, 2, "r0.s0", newcomer)
    assert found(ledger) == "its author is not r0.s0"


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
        Ledger.read(ledger.path) as reader,
        pytest.raises(SettingError, match=f"damaged at entry {index}: "),
    ):
        reader.entries()


def test_an_entry_of_another_job_is_found_though_well_signed(ledger):
    ledger._job = "other"
    chains.before_commits(ledger, 2)
    assert found(ledger) == "it is of another job"


def test_the_coordinator_cannot_invent_a_commit(ledger):
    chains.before_commits(ledger, 2)
    body = {"node": "r0.s0", "update": "ab" * 32, "states": ""}
    statement = Statement(chains.JOB, 2, "commit", KEY["r0.s0"], body)
    ledger._add(statement, chains.COORDINATOR.sign(statement.encode()))
    assert found(ledger) == "it is not signed by its author"
