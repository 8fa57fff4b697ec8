import json
import sqlite3
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tdml import cli
from tdml.commands.rewards import to_text
from tdml.errors import SettingError
from tdml.ledger import reader
from tdml.ledger.chain import Ledger
from tdml.rewards.account_statement import statement_of
from tdml.rewards.accounts import Accounts
from tdml.run.start_recorder import begin
from tests.ledger import chains
from tests.rewards.stories import ban, job, roster, verdict

NAMES = ["r0.s0", "r0.s1", "r1.s0", "r1.s1", "spare0", "spare10", "spare9"]


def entries(*rounds, stake=5000, **terms):
    """The entries of a job, whose `rewards` are worked out; a round is a list of (kind, body), or
    the number of a round to go back to."""
    found = [
        (0, "job", job(stake=stake, pool=1000, samples=[100, 100], **terms)),
        (0, "roster", roster(NAMES, r1s1="key-r1.s1")),
    ]
    book, closed, number = Accounts(found[0][2], found[1][2]), [], 0
    for happening in ([], *rounds):
        if isinstance(happening, int):
            number = happening + 1
            found.append((number, "resume", {"after": happening}))
            book.restore(closed[happening])
            del closed[number:]
            continue
        for kind, body in happening:
            book.apply(kind, number, body)
            found.append((number, kind, body))
        found.append((number, "rewards", {"postings": book.settle(number)}))
        book.apply(*[found[-1][i] for i in (1, 0, 2)])
        found.append((number, "root", {}))
        book.apply("root", number, {})
        closed.append(book.snapshot())
        number += 1
    return found


HONEST = [("verdict", verdict(0)), ("verdict", verdict(1))]
DOUBTED = [("verdict", verdict(0)), ("verdict", verdict(1, "suspicious"))]
CAUGHT = [
    ("verdict", verdict(0)),
    ("verdict", verdict(1, "malicious", ["r1.s1"])),
    ("ban", ban("r1.s1")),
]
STORY = entries(HONEST, DOUBTED, CAUGHT)


def lines(story):
    return {line.names[0]: line for line in statement_of(story).lines}


def test_what_each_key_earned_and_lost():
    found = lines(STORY)
    assert list(found) == ["r0.s0", "r0.s1", "r1.s0", "r1.s1", "spare0", "spare9", "spare10"]
    cheat, partner, spare = found["r1.s1"], found["r1.s0"], found["spare9"]
    assert (cheat.rounds, cheat.earned, cheat.held, cheat.lost, cheat.stake) == (3, 300, 0, 5300, 0)
    assert (partner.rounds, partner.earned, partner.held, partner.lost, partner.stake) == (
        3,
        400,
        200,
        0,
        5000,
    )
    assert (spare.rounds, spare.earned, spare.held, spare.lost, spare.stake) == (0, 0, 0, 0, 5000)
    assert cheat.names == ["r1.s1", "r1s1"]


def test_names_of_any_digits_have_an_order():
    """A stranger's ledger may have them: Python reads no number of more than 4,300 digits."""
    names = ["r" + "1" * 5_000, "r\u0663", "r9", "r10"]
    story = [(0, "job", job()), (0, "roster", roster(names))]
    assert [line.names[0] for line in statement_of(story).lines][-1] == names[0]


def test_a_lost_round_is_no_round_of_work():
    story = statement_of(entries(HONEST, [("verdict", verdict(0, "lost")), HONEST[1]], HONEST))
    [lost] = [line for line in story.lines if line.names == ["r0.s0"]]
    assert (lost.rounds, lost.unpaid) == (2, [2])
    assert lines(entries(HONEST))["r0.s0"].unpaid == []
    said = to_text(story, [lost], postings=True, width=200)
    assert said.endswith("in which its replica was lost: 2 (why: tdml ledger show)")


def test_pay_by_lot_is_called_so():
    """Else whoever was not drawn would wonder where his pay is."""
    said = [
        to_text(statement_of(entries(HONEST, **terms)), [], False, 200)
        for terms in ({}, {"policy": "verified", "audit_chance": 0.05})
    ]
    assert ["each as 20 of them" in text for text in said] == [False, True]


def test_what_was_held_back_and_cleared_is_earned_and_not_lost():
    found = lines(entries(DOUBTED, HONEST))["r1.s1"]
    assert (found.earned, found.held, found.lost) == (600, 0, 0)


def test_void_rounds_do_not_count():
    assert lines(entries(DOUBTED, HONEST, 0, HONEST, DOUBTED, CAUGHT)) == lines(STORY)


def test_a_key_whose_name_another_has_since_a_resume_keeps_its_line():
    story = entries(
        HONEST, HONEST, 2, [("roster", roster(["r1.s1"], **{"r1.s1": "late"})), *HONEST]
    )
    former, late = (line for line in statement_of(story).lines if "r1.s1" in line.names)
    assert (former.key, former.rounds, former.earned, former.stake) == ("key-r1.s1", 2, 600, 5000)
    assert (late.key, late.rounds, late.earned, late.stake) == ("late", 1, 300, 5000)


def test_rounds_that_were_taken_back_and_came_again_count_as_often_as_they_were_played():
    story = entries(HONEST, DOUBTED, HONEST, HONEST)
    again = [(min(number, 2) if number < 4 else 3, *rest) for number, *rest in story]
    assert lines(again)["r0.s0"].rounds == lines(story)["r0.s0"].rounds == 4


def test_money_that_the_rules_do_not_give_is_refused():
    wrong = [(r, k, {"postings": []} if k == "rewards" else b) for r, k, b in STORY]
    with pytest.raises(ValueError, match="posting 0 is nothing"):
        statement_of(wrong)


# The command


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run folder whose ledger holds `STORY`, or what is put into the list that is returned with
    it."""
    story = list(STORY)

    class Reader:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def entries(self):
            return [SimpleNamespace(round=r, kind=k, body=b) for r, k, b in story]

    def read(path):
        if not path.parent.exists():
            raise SettingError(f"{path} does not exist")
        return Reader()

    monkeypatch.setattr(reader, "read", read)
    monkeypatch.setattr("tdml.ledger.verify.verify", lambda *_: None)
    return tmp_path, story


def test_the_table(run, capsys):
    assert cli.run(["rewards", str(run[0])]) == 0
    assert (
        capsys.readouterr().out
        == """\
node         key          rounds  earned  held back   lost  stake left
r0.s0        key-r0.s0         3     600          0      0       5,000
r0.s1        key-r0.s1         3     900          0      0       5,000
r1.s0        key-r1.s0         3     400        200      0       5,000
r1.s1, r1s1  key-r1.s1         3     300          0  5,300           0
spare0       key-spare0        0       0          0      0       5,000
spare9       key-spare9        0       0          0      0       5,000
spare10      key-spare10       0       0          0      0       5,000

pools 2,500 + slashed stakes 5,000 = credits 2,200 + held back 200 + treasury 5,100
stakes put down 35,000 = stakes left 30,000 + slashed stakes 5,000
"""
    )


@pytest.mark.parametrize("node", ["r1.s1", "r1s1", "key-r1.s1"])
def test_one_node_with_its_postings(run, capsys, node):
    assert cli.run(["rewards", str(run[0]), "--node", node]) == 0
    assert (
        capsys.readouterr().out
        == """\
node         key        rounds  earned  held back   lost  stake left
r1.s1, r1s1  key-r1.s1       3     300          0  5,300           0

round  amount  from             to                why
    0   5,000  deposit          stake:key-r1.s1   stake
    1     300  mint             credit:key-r1.s1  work of r1.s1
    2     300  mint             held:key-r1.s1    work of r1.s1, held back
    3     200  stake:key-r1.s1  credit:key-r1.s0  work of r1.s0, paid by r1.s1's stake
    3   4,800  stake:key-r1.s1  treasury          convicted
    3     300  held:key-r1.s1   treasury          convicted
"""
    )


@pytest.mark.parametrize("width", [40, 60])
def test_on_a_narrow_terminal_every_row_is_a_paragraph(run, width):
    statement = statement_of(run[1])
    text = to_text(
        statement, [line for line in statement.lines if "r1.s1" in line.names], True, width
    )
    assert max(map(len, text.splitlines())) <= width
    for row in (
        "node r1.s1, r1s1: key key-r1.s1; rounds 3; earned 300; held back 0; lost 5,300; stake "
        "left 0",
        (
            "round 3: amount 200; from stake:key-r1.s1; to credit:key-r1.s0; why work of r1.s0, "
            "paid by r1.s1's stake"
        ),
    ):
        assert row in " ".join(text.split())


def test_a_strangers_ledger_cannot_control_the_terminal(run):
    statement = statement_of(run[1])
    named = replace(statement.lines[0], names=["r0\x1b[2J.s0"])
    assert "r0�[2J.s0" in to_text(statement, [named], False, 200)


def test_json(run, capsys):
    assert cli.run(["rewards", str(run[0]), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["totals"]["treasury"] == 5100
    assert found["keys"][3] == {
        "key": "key-r1.s1", "names": ["r1.s1", "r1s1"], "rounds": 3, "earned": 300, "held": 0,
        "lost": 5300, "stake": 0, "unpaid": [],
    }  # fmt: skip
    assert cli.run(["rewards", str(run[0]), "--json", "--node", "r0.s0"]) == 0
    [line] = json.loads(capsys.readouterr().out)["keys"]
    first = {"round": 0, "from": "deposit", "to": "stake:key-r0.s0", "amount": 5000, "why": "stake"}
    assert (len(line["postings"]), line["postings"][0]) == (4, first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--node", "r9.s9"],
            "--node r9.s9: there is no such name or key: choose one of r0.s0, r0.s1, r1.s0, r1.s1",
        ),
        (["--node", ""], "there is no such name or key"),
    ],
)
def test_an_unknown_node(run, capsys, arguments, message):
    assert cli.run(["rewards", str(run[0]), *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_run_that_is_not_there(run, capsys):
    assert cli.run(["rewards", str(run[0] / "nowhere")]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_a_ledger_that_somebody_has_edited(tmp_path, capsys):
    """As whoever hands it to the one that pays may have, with all that follows from it."""
    path, [first, *_] = tmp_path / "ledger.db", chains.PUBLIC.values()
    with Ledger.open(path, chains.COORDINATOR, chains.JOB) as ledger:
        keys = {"keys": chains.PUBLIC, "given": False, "refused": {}}
        begin(ledger, chains.job_body(), keys)
    assert cli.run(["rewards", str(tmp_path)]) == 0
    with sqlite3.connect(path) as database:
        other = first[:-1] + format(int(first[-1], 16) ^ 1, "x")
        database.execute("UPDATE entries SET body = replace(body, ?, ?)", (first, other))
    assert cli.run(["rewards", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "entry 1 (roster, round 0): its hash is not that of what it says" in error
    assert f"see tdml ledger verify {tmp_path}" in error
