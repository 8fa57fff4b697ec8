"""The ledger of whole jobs: what it records of an attacker, and that nobody can change it
afterwards."""

import hashlib
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.jobs import Result
from tests.ledger.stored import tensors
from tests.run_ledgers import LIAR, assert_liar_pays, assert_wrong, entries, paid_in, tdml, verify

_ALWAYS = {"round": 1, "reveal": 1, "rewards": 1, "weights": 1, "root": 1}


@pytest.fixture
def copy(attacked: Result, tmp_path: Path) -> Path:
    """A copy of its folder, to be tampered with."""
    return shutil.copytree(attacked.run, tmp_path / "moved")


def test_every_round_has_all_kinds_of_entries(attacked: Result) -> None:
    assert Counter(entry.kind for entry in entries(attacked.run, round=0)) == {
        "job": 1, "roster": 1, "rewards": 1, "root": 1,
    }  # fmt: skip
    for number in (1, 2, 3, 4):
        kinds = Counter(entry.kind for entry in entries(attacked.run, round=number))
        expected = (
            _ALWAYS | {"commit": 6, "verdict": 3, "audit": 3} | ({"ban": 1} if number == 2 else {})
        )
        assert kinds == expected
    assert [entry.kind for entry in entries(attacked.run, round=5)] == ["end", "root"]


def test_ledger_metrics_and_summary_agree(attacked: Result) -> None:
    keys = entries(attacked.run, "roster")[0].body["keys"]
    [ban] = entries(attacked.run, "ban")
    assert (ban.round, ban.body["node"], ban.body["key"]) == (2, LIAR, keys[LIAR])
    assert attacked.summary["banned"] == [LIAR]
    for line in attacked.rounds:
        verdicts = {
            str(entry.body["replica"]): entry.body
            for entry in entries(attacked.run, "verdict", line["round"])
        }
        assert verdicts.keys() == line["replicas"].keys()
        for index, shown in line["replicas"].items():
            said = verdicts[index]
            assert (said["status"], said["reason"]) == (shown["verdict"], shown["reason"])
            assert said["blamed"] == shown.get("nodes", [])
    assert [placed(attacked, number)["1"] for number in (2, 3)] == [
        ["r1.s0", "r1.s1"],
        ["spare0", "r1.s1"],
    ]


def placed(result: Result, number: int) -> dict[str, list[str]]:
    [opened] = entries(result.run, "round", number)
    return opened.body["slots"]


def test_all_is_well_also_where_the_folder_was_moved_to(
    attacked: Result, copy: Path, capsys
) -> None:
    assert "4 rounds, model.pt is the model of the last" in verify(attacked.run, capsys)
    verify(copy, capsys)
    status, text = tdml(capsys, "ledger", "verify", copy, "--roster", attacked.run / "roster.yaml")
    assert status == 0, text


def test_an_entry_is_proved_by_the_root_of_its_round_alone(
    attacked: Result, tmp_path: Path, capsys
) -> None:
    [ban] = entries(attacked.run, "ban")
    roots = {entry.round: entry.body["root"] for entry in entries(attacked.run, "root")}
    proof = tmp_path / "proof.json"
    status, text = tdml(capsys, "ledger", "proof", attacked.run, ban.index, "--out", proof)
    assert status == 0 and roots[2] in text
    assert tdml(capsys, "ledger", "check", proof, roots[2])[0] == 0
    for number in (1, 3):
        status, text = tdml(capsys, "ledger", "check", proof, roots[number])
        assert status == 1 and text.count("\n") == 1


def test_what_convicted_a_node_can_be_read_back_and_shows_the_lie(attacked: Result) -> None:
    audits = [
        entry.body
        for entry in entries(attacked.run, "audit", round=2)
        if entry.body["outcome"] == "lied"
    ]
    [dispute] = audits[0]["disputes"]
    assert dispute["blamed"] == [LIAR]
    truth = tensors(str(attacked.run.parent / "store"), dispute["artifacts"]["truth"])
    assert list(truth) == ["truth0"] and truth["truth0"].isfinite().all()


def test_artifacts_lie_under_their_hashes(attacked: Result) -> None:
    files = [path for path in (attacked.run.parent / "store").rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert path.parent.name + path.name == hashlib.sha256(path.read_bytes()).hexdigest()
    [end] = entries(attacked.run, "end")
    assert end.body["reason"] == "all 4 rounds done"


def test_liar_pays_and_the_honest_are_paid_by_their_work(attacked: Result, capsys) -> None:
    assert_liar_pays(attacked, capsys)
    work = entries(attacked.run, "job")[0].body["shares"]
    paid = [paid_in(attacked, name, 4)["mint"] for name in ("r0.s0", "r0.s1")]
    assert paid == [1_000_000 * share // (3 * sum(work)) for share in work]


# Tampering with the run after it


def _flip_model(run: Path) -> None:
    path = run / "model.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _edit_config(run: Path) -> None:
    path = run / "config.yaml"
    path.write_text(path.read_text().replace("seed: 0", "seed: 1"))


def _sql(run: Path, *commands: str) -> None:
    database = sqlite3.connect(run / "ledger.db", isolation_level=None)
    for command in commands:
        database.execute(command)
    database.close()


def _delete_last(run: Path) -> None:
    _sql(run, 'DELETE FROM entries WHERE "index" = (SELECT max("index") FROM entries)')


def _swap(run: Path) -> None:
    _sql(
        run,
        'UPDATE entries SET "index" = -1 WHERE "index" = 6',
        'UPDATE entries SET "index" = 6 WHERE "index" = 7',
        'UPDATE entries SET "index" = 7 WHERE "index" = -1',
    )


def _change_amount(run: Path) -> None:
    before = entries(run, "rewards")[1].body["postings"][0]["amount"]
    _sql(
        run,
        (
            f"UPDATE entries SET body = replace(body, '\"amount\":{before}', "
            f"'\"amount\":{before + 1}')"
        ),
    )


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (_flip_model, "model.pt is not the model of the last round"),
        (_edit_config, "config.yaml is not the one that the job was started with"),
        (_delete_last, "the head speaks of"),
        (_swap, "wrong: entry 6"),
        (_change_amount, "its hash is not that of what it says"),
    ],
)
def test_tampering_is_found_and_said_in_one_line(
    tamper: Callable[[Path], None], expected: str, copy: Path, capsys
) -> None:
    tamper(copy)
    assert_wrong(copy, capsys, expected)
