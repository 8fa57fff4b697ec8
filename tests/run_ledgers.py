"""The ledgers of whole jobs: what tests ask of them."""

import json
import time
from collections import Counter
from multiprocessing import Process
from pathlib import Path

import pytest

from tdml import cli
from tdml.errors import SettingError
from tdml.ledger.entry import Entry
from tdml.ledger.reader import read
from tdml.rewards.accounts import book_of, valid_entries
from tests.jobs import Result

LIAR, STAKE = "r1.s0", 5_000_000


def entries(run: Path, kind: str | None = None, round: int | None = None) -> list[Entry]:
    """All entries of a run's ledger, also the void ones."""
    with read(run / "ledger.db") as ledger:
        return [entry for entry in ledger.entries(kind) if round in (None, entry.round)]


def tdml(capsys: pytest.CaptureFixture, *arguments: str | int | Path) -> tuple[int, str]:
    """The status and the output of a command."""
    status = cli.run([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return status, printed.out + printed.err


def verify(run: Path, capsys: pytest.CaptureFixture) -> str:
    """What `tdml ledger verify` says of a run that is sound."""
    status, text = tdml(capsys, "ledger", "verify", run)
    assert status == 0, text
    assert "all is well" in text
    return text


def assert_wrong(run: Path, capsys: pytest.CaptureFixture, expected: str) -> None:
    """`tdml ledger verify` finds the run wrong, and says so in one line."""
    status, text = tdml(capsys, "ledger", "verify", run)
    assert status == 1, text
    assert text.count("\n") == 1, text
    assert expected in text


def rewards(run: Path, capsys: pytest.CaptureFixture) -> tuple[dict[str, dict], dict[str, int]]:
    """What `tdml rewards --json` says: the lines by the first name of each key, and the totals."""
    status, text = tdml(capsys, "rewards", run, "--json")
    assert status == 0, text
    said = json.loads(text)
    return {line["names"][0]: line for line in said["keys"]}, said["totals"]


def assert_balanced(run: Path, capsys: pytest.CaptureFixture, rounds: int) -> None:
    """No round that counts has paid more than one pool, and no money was made or lost."""
    kept = valid_entries((entry.round, entry.kind, entry.body) for entry in entries(run))
    book_of(kept).check()
    _, totals = rewards(run, capsys)
    job = entries(run, "job")[0].body
    assert totals["pool_in"] <= rounds * job["pool"]
    assert (
        totals["pool_in"] + totals["slashed"]
        == totals["credit"] + totals["held"] + totals["treasury"]
    )
    assert totals["deposits"] == totals["stake"] + totals["slashed"]


def await_entry(
    run: Path, kind: str, round: int, processes: list[Process], seconds: float = 60
) -> None:
    """Wait until a running job has written such an entry."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and all(process.is_alive() for process in processes):
        if _has(run, kind, round):
            return
        time.sleep(0.01)
    raise AssertionError(f"no {kind} of round {round} was written")


def _has(run: Path, kind: str, round: int) -> bool:
    try:
        return bool(entries(run, kind, round))
    except SettingError:  # not there yet, or being made
        return False


def assert_liar_pays(result: Result, capsys) -> None:
    """The node r1.s0, which attacks from round 2 on, loses its stake, to its partner first; all
    others are paid."""
    assert result.summary["banned"] == [LIAR]
    verify(result.run, capsys)
    assert_balanced(result.run, capsys, rounds=len(result.rounds))
    lines, totals = rewards(result.run, capsys)
    assert totals["slashed"] == STAKE
    for name, line in lines.items():
        assert (line["lost"], line["stake"]) == ((STAKE, 0) if name == LIAR else (0, STAKE))
        paid = [paid_in(result, name, number) for number in range(1, 1 + len(result.rounds))]
        assert line["earned"] == sum(part.total() for part in paid)
        assert any(part["stake"] for part in paid) == (name == "r1.s1"), (
            "only its partner is paid by a liar's stake"
        )
        assert name != LIAR or not any(paid[1:]), "a liar is paid nothing from its first lie on"
    if (
        "r1.s1" in lines and entries(result.run, "job")[0].body["policy"] != "improvement"
    ):  # what a partner of a liar improves cannot be measured
        assert paid_in(result, "r1.s1", 2).total() == paid_in(result, "r0.s1", 2).total() > 0
    [slashed] = [entry for entry in entries(result.run, "rewards") if _from_liar(result, entry)]
    assert slashed.round == 2
    assert [p["to"] for p in _from_liar(result, slashed)][-1] == "treasury", (
        "the partner comes first"
    )
    assert sum(p["amount"] for p in _from_liar(result, slashed)) == STAKE


def _key_of(result: Result, name: str) -> str:
    return entries(result.run, "roster")[0].body["keys"][name]


def paid_in(result: Result, name: str, number: int) -> Counter[str]:
    """What reached a node's credit in a round, by the kind of account that it came from."""
    paid: Counter[str] = Counter()
    for posting in entries(result.run, "rewards", number)[0].body["postings"]:
        if posting["to"] == f"credit:{_key_of(result, name)}":
            paid[posting["from"].partition(":")[0]] += posting["amount"]
    return paid


def _from_liar(result: Result, settled: Entry) -> list[dict]:
    """The postings from the liar's stake."""
    return [p for p in settled.body["postings"] if p["from"] == f"stake:{_key_of(result, LIAR)}"]
