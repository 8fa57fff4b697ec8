"""What a round that a resumed run makes void leaves behind."""

from tdml.rewards.accounts import book_of
from tdml.rewards.entries import TREASURY
from tests.rewards.books import NAMES, purse
from tests.rewards.stories import ban, job, roster, verdict


def test_who_lies_in_a_round_that_becomes_void_loses_its_stake_though_its_key_came_in_it():
    entries = [(0, "job", job()), (0, "roster", roster(NAMES[:4]))]
    _settle(entries, 0)
    entries += [(1, "verdict", verdict(i)) for i in range(2)]
    _settle(entries, 1)
    entries += [(2, "roster", roster(NAMES[:4], late="key-late"))]
    entries += [
        (2, "verdict", verdict(0)),
        (2, "verdict", verdict(1, "malicious", ["late"], ["r1.s0", "late"])),
    ]
    entries += [(2, "ban", ban("late"))]
    _settle(entries, 2)
    entries += [(2, "resume", {"after": 1}), (2, "roster", roster(NAMES[:4]))]
    entries += [(2, "verdict", verdict(i)) for i in range(2)]
    _settle(entries, 2)
    book = book_of(entries)
    assert purse(book, "late") == (0, 0, 0)
    assert book.totals()["slashed"] == book.balances[TREASURY] == 5000


def _settle(entries, round):
    entries.append((round, "rewards", {"postings": book_of(entries).settle(round)}))
    entries.append((round, "root", {}))
