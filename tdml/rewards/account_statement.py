"""What every key has earned and lost, and why: read from the entries of a ledger."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tdml.rewards.accounts import Entry, book_of, valid_entries
from tdml.rewards.entries import (
    TREASURY,
    Participants,
    Posting,
    Rewards,
    Verdict,
    accounts_of,
    read,
)
from tdml.rewards.policies import policy_of


@dataclass(frozen=True)
class AccountLine:
    """The line of one key. Amounts are in units of money."""

    key: str
    names: list[str]
    rounds: int  # in which a replica that it sat in handed in something
    earned: int
    held: int
    lost: int  # of its stake, and of what was held back
    stake: int  # what is left of it
    unpaid: list[int]  # rounds in which a replica that it sat in was lost


@dataclass(frozen=True)
class AccountStatement:
    """All keys, by name; the totals of `Accounts.totals`; the round and posting of all that was
    posted; and, where only verified work is paid, for how many windows each of its own stands."""

    lines: list[AccountLine]
    totals: dict[str, int]
    postings: list[tuple[int, Posting]]
    stands_for: float | None = None

    def of(self, key: str) -> list[tuple[int, Posting]]:
        """The postings from and to the key's accounts."""
        own = accounts_of(key)
        return [(round, p) for round, p in self.postings if p.source in own or p.target in own]


def statement_of(entries: Iterable[Entry]) -> AccountStatement:
    """The statement at the end of a ledger, whose money is recomputed on the way.

    Raises:
        ValueError: an entry is not what the rules give from those before it.
    """
    kept = valid_entries(entries)
    book = book_of(kept)
    postings = [
        (round, p)
        for round, kind, body in kept
        if kind == "rewards"
        for p in read(body, Rewards).postings
    ]
    names = _names(kept)
    rounds, lost, unpaid = _rounds(kept), _lost(postings), _unpaid(kept)
    lines = []
    for key, own in names.items():
        credit, held, stake = (book.balances.get(account, 0) for account in accounts_of(key))
        missed = unpaid.get(key, [])
        lines.append(AccountLine(key, own, rounds[key], credit, held, lost[key], stake, missed))
    stands_for = 1 / book.terms.audit_chance if policy_of(book.terms).verified else None
    return AccountStatement(lines, book.totals(), postings, stands_for)


def _names(entries: Iterable[Entry]) -> dict[str, list[str]]:
    """The names that each key has had, in their order. After a resume another key may have one of
    them."""
    had = {
        (name, key): None
        for _, kind, body in entries
        if kind == "roster"
        for name, key in read(body, Participants).admitted.items()
    }
    names: dict[str, list[str]] = {}
    for name, key in sorted(had, key=lambda each: _natural(each[0])):
        names.setdefault(key, []).append(name)
    return names


def _seated(entries: Iterable[Entry]) -> Iterator[tuple[int, int, Verdict, set[str]]]:
    """Every verdict: how many rounds were played before, the number of its round, and the keys that
    its nodes had then."""
    keys: dict[str, str] = {}
    played = 0
    for round, kind, body in entries:
        if kind == "roster":
            keys |= read(body, Participants).admitted
        if kind == "verdict":
            verdict = read(body, Verdict)
            yield played, round, verdict, {keys[name] for name in verdict.nodes}
        played += kind == "root"


def _rounds(entries: Iterable[Entry]) -> Counter[str]:
    """In how many rounds each key had a slot in a replica that handed in something. A round that
    was taken back and played again counts each time."""
    placed = {
        (played, key)
        for played, _, verdict, keys in _seated(entries)
        if verdict.handed_in
        for key in keys
    }
    return Counter(key for _, key in placed)


def _unpaid(entries: Iterable[Entry]) -> dict[str, list[int]]:
    """By key, the rounds in which a replica that it sat in handed in nothing."""
    unpaid: dict[str, list[int]] = {}
    for _, round, verdict, keys in _seated(entries):
        for key in keys if not verdict.handed_in else ():
            unpaid.setdefault(key, []).append(round)
    return unpaid


def _lost(postings: Iterable[tuple[int, Posting]]) -> Counter[str]:
    """What has left the stakes, or the held accounts for the treasury, by key."""
    lost: Counter[str] = Counter()
    for _, posting in postings:
        kind, _, key = posting.source.partition(":")
        if kind == "stake" or (kind == "held" and posting.target == TREASURY):
            lost[key] += posting.amount
    return lost


def _natural(name: str) -> list[str | tuple[int, str]]:
    """Sorts r2.s0 before r10.s0, and whatever a stranger's ledger calls nodes."""
    parts = enumerate(re.split(r"(\d+)", name))
    return [(len(part), part) if place % 2 else part for place, part in parts]
