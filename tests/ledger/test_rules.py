"""What an entry may say after those before it."""

import pytest

from tdml.ledger.chain import Ledger
from tdml.ledger.verify import Wrong, verify
from tdml.protocol.statement import Statement
from tests.ledger import chains

PLACES = {
    "round 0 once more": (chains.begin, "it is of round 0, but round 2 comes here"),
    "another job": (lambda x: x.append(2, "job", chains.job_body()), "no job may stand here"),
    "another roster": (
        lambda x: x.append(2, "roster", {"keys": {}, "given": True, "refused": {}}),
        "r0.s0 had another key before",
    ),
    "two rosters": (
        lambda x: (chains.join(x, "spare1"), chains.join(x, "spare1", "spare2")),
        "no roster may stand here",
    ),
    "an end after a roster": (
        lambda x: (chains.join(x, "spare1"), x.end(chains.digest("weights 1"), "")),
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
    "a rollback after the end": (
        lambda x: (x.end(chains.digest("weights 1"), ""), x.roll_back(1, "planted")),
        "which is not closed, or another round is open",
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
    "another play": (
        lambda x: x.append_signed(*signed(Statement(chains.JOB, 2, "commit", chains.PUBLIC["r0.s0"], {
            "node": "r0.s0", "play": chains.digest("the first"), "update": chains.digest("update"), "states": "",
        }))),
        "it is of another play of the round",
    ),
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
        lambda x: x.append(2, "roster", {"keys": chains.PUBLIC, "given": True, "refused": {}}),
        "no roster may stand here",
    ),
    "wrong count": (
        lambda x: (chains_tail(x), x.append(2, "root", {"entries": 9, "root": "ab" * 32})),
        "it speaks of 9 entries, but the round has 6",
    ),
    "wrong root": (
        lambda x: (chains_tail(x), x.append(2, "root", {"entries": 6, "root": "ab" * 32})),
        "it is not the root of the round's entries",
    ),
    "end in a round": (
        lambda x: x.append(2, "end", {"model": chains.digest("weights 1"), "reason": ""}),
        "no end may stand here",
    ),
    "another's key banned": (
        lambda x: x.append(2, "ban", {"node": "r0.s0", "key": chains.PUBLIC["r0.s1"], "reason": ""}),
        "the key is not that of r0.s0",
    ),
    "banned twice": (
        lambda x: x.append(2, "ban", {"node": "r1.s1", "key": chains.PUBLIC["r1.s1"], "reason": ""}),
        "r1.s1 is banned already",
    ),
    "a node's verdict": (
        lambda x: x._add(*signed(Statement(chains.JOB, 2, "verdict", chains.PUBLIC["r0.s0"], chains.verdict()))),
        "its author is not the coordinator",
    ),
    "two verdicts": (
        lambda x: [x.append(2, "verdict", chains.verdict()) for _ in range(2)],
        "replica 0 has two verdicts",
    ),
    "blamed in another replica": (
        lambda x: x.append(2, "verdict", chains.verdict(status="malicious", blamed=["r1.s0"])),
        "r1.s0 is blamed or forgiven but has no slot in the replica",
    ),
    "forgiven in another replica": (
        lambda x: x.append(2, "verdict", chains.verdict(forgiven=["r1.s0"])),
        "r1.s0 is blamed or forgiven but has no slot in the replica",
    ),
    "a verdict on nobody": (
        lambda x: x.append(2, "verdict", chains.verdict(replica=7)),
        "these are not the nodes of replica 7",
    ),
    "a verdict on others": (
        lambda x: x.append(2, "verdict", chains.verdict(nodes=["r0.s0", "spare0"])),
        "these are not the nodes of replica 0",
    ),
    "a verdict without a commit": (
        lambda x: (chains.commit(x, 2, "r0.s0"), x.append(2, "verdict", chains.verdict(status="honest"))),
        "r0.s1 is judged but has committed to nothing",
    ),
    "no verdict": (
        lambda x: (chains_tail(x, [0]), x.append(2, "root", {"entries": 5, "root": "ab" * 32})),
        "there is no verdict on replica 1",
    ),
    "more repeated than done": (
        lambda x: x.append(2, "verdict", chains.verdict(samples=64, repeated=65)),
        "more samples are repeated than the replica has worked on",
    ),
    "false money": (
        lambda x: x.append(2, "rewards", {"postings": []}),
        "0 units are paid, not 1000",
    ),
}  # fmt: skip


def signed(statement):
    return statement, statement.sign(chains.KEYS["r0.s0"])


def chains_tail(ledger, judged=(0, 1)):
    posting = {
        "from": "mint",
        "to": f"credit:{chains.PUBLIC['r0.s0']}",
        "amount": chains.POOL,
        "why": "work",
    }
    ledger.append(2, "reveal", {"secret": chains.SECRET})
    for replica in judged:
        nodes = chains.SLOTS[str(replica)]
        ledger.append(2, "verdict", chains.verdict(replica=replica, nodes=nodes))
    ledger.append(2, "rewards", {"postings": [posting]})
    ledger.append(2, "weights", {"digest": "ab" * 32})


@pytest.mark.parametrize("case", IN_A_ROUND)
def test_what_a_round_may_not_hold(ledger, case):
    act, text = IN_A_ROUND[case]
    chains.before_commits(ledger, 2)
    verify(ledger.path, chains.PlainBook)
    act(ledger)
    assert chains.fault_of(ledger) == text


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
    assert chains.fault_of(ledger) == text


def test_a_refused_node_does_not_commit(tmp_path):
    with Ledger.open(tmp_path / "ledger.db", chains.COORDINATOR, chains.JOB) as made:
        made.append(0, "job", chains.job_body())
        made.append(
            0, "roster", {"keys": chains.PUBLIC, "given": True, "refused": {"r0.s0": "another key"}}
        )
        made.append(0, "rewards", {"postings": []})
        made.close_round(0)
        chains.before_commits(made, 1)
        chains.commit(made, 1, "r0.s0")
        assert chains.fault_of(made) == "r0.s0 is banned"
