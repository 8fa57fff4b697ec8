"""A book of accounts and a round of it, for tests."""

from tdml.rewards.accounts import Accounts
from tests.rewards.stories import close, job, roster, verdict

NAMES = [f"r{replica}.s{stage}" for replica in range(3) for stage in range(2)] + ["spare0"]
MALICIOUS = verdict(2, "malicious", ["r2.s1"])


def opened(**changes):
    """A book after round 0."""
    book = Accounts(job(**changes), roster(NAMES))
    close(book, 0)
    return book


def play(book, round, *verdicts, bans=()):
    """One round of the book; its postings."""
    for body in verdicts:
        book.apply("verdict", round, body)
    for body in bans:
        book.apply("ban", round, body)
    return close(book, round)


def purse(book, name):
    """Credit, held back and stake of a node."""
    return tuple(book.balances.get(f"{kind}:key-{name}", 0) for kind in ("credit", "held", "stake"))
