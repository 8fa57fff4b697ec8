"""The book against plain arithmetic, whatever happens."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdml.rewards.accounts import Accounts, book_of, valid_entries
from tdml.rewards.entries import DEPOSIT, MINT, TREASURY
from tests.rewards.plain import PlainBook
from tests.rewards.stories import close, stories


@settings(derandomize=True, deadline=None, max_examples=150)
@given(stories())
def test_any_story_ends_as_plain_arithmetic_says(story):
    book, plain = Accounts(story.job, story.roster), PlainBook(story.job, story.roster)
    entries = [(0, "job", story.job), (0, "roster", story.roster)]
    entries += [(0, "rewards", {"postings": close(book, 0)}), (0, "root", {})]
    closed, number = [(book.snapshot(), copy.deepcopy(plain), 0)], 0
    banned = []  # keys, whatever becomes of the rounds
    for happening in story.rounds:
        if happening.resume is not None:
            number = min(happening.resume, number)
            entries.append((number + 1, "resume", {"after": number}))
            del closed[number + 1 :]
            book.restore(closed[-1][0])
            plain = copy.deepcopy(closed[-1][1])
            for key in banned[closed[-1][2] :]:
                book.apply("ban", number + 1, {"key": key})
                plain.convicted.add(key)
            continue
        number += 1
        before = book.balances
        new = [("verdict", v) for v in happening.verdicts] + [("ban", b) for b in happening.bans]
        for kind, body in new:
            book.apply(kind, number, body)
            book.check()
        postings = close(book, number)
        entries += [
            (number, kind, body)
            for kind, body in [*new, ("rewards", {"postings": postings}), ("root", {})]
        ]
        plain.play(happening.verdicts, happening.bans)
        _check_postings(before, postings, plain.convicted)
        _check_purses(book, plain)
        banned += [ban["key"] for ban in happening.bans]
        closed.append((book.snapshot(), copy.deepcopy(plain), len(banned)))
    assert _without_zeros(book_of(entries)) == _without_zeros(book)
    owing = [key for key in sorted(book.convicted | plain.held.keys()) if len(key) % 2]
    book.apply("end", number + 1, {"owing": owing})
    _check_postings(book.balances, close(book, number + 1), plain.convicted)
    plain.play([], [])  # who was convicted in a round that is void
    plain.end(owing)
    _check_purses(book, plain)


def _check_postings(before, postings, convicted):
    """One by one, none takes what is not there, and none pays a cheat."""
    balances = dict(before)
    for posting in postings:
        assert posting["amount"] > 0
        balances[posting["from"]] = balances.get(posting["from"], 0) - posting["amount"]
        balances[posting["to"]] = balances.get(posting["to"], 0) + posting["amount"]
        assert min([b for a, b in balances.items() if a not in (MINT, DEPOSIT)], default=0) >= 0
        assert posting["to"].partition(":")[2] not in convicted


def _check_purses(book, plain):
    purses = {"stake": plain.stake, "held": plain.held, "credit": plain.credit}
    expected = {
        f"{kind}:{key}": amount for kind, purse in purses.items() for key, amount in purse.items()
    }
    expected[TREASURY] = plain.treasury
    found = {
        account: b for account, b in _without_zeros(book).items() if account not in (MINT, DEPOSIT)
    }
    assert found == {account: amount for account, amount in expected.items() if amount}


def _without_zeros(book):
    return {account: balance for account, balance in book.balances.items() if balance}


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 4), max_size=6))
def test_a_resume_makes_all_later_rounds_void(resumes):
    entries, number = [(0, "root", {})], 0
    for after in resumes:
        entries += [(number + i, kind, {}) for i in (1, 2) for kind in ("verdict", "root")]
        number = min(after, number + 2)
        entries.append((number + 1, "resume", {"after": number}))
    kept = [round for round, kind, _ in valid_entries(entries) if kind == "verdict"]
    assert kept == list(range(1, number + 1))


@pytest.mark.parametrize("after", [0, 1])
def test_a_resume_after_a_rollback_undoes_none_of_the_pay_before_it(after):
    """Nothing may lie between the two, or a round that was not closed."""
    played = [(number, kind, {}) for number in (1, 2) for kind in ("verdict", "ban", "root")]
    entries = [
        (0, "root", {}),
        *played,
        (2, "rollback", {"after": after}),
        (after + 1, "verdict", {}),
    ]
    kept = valid_entries([*entries, (after + 1, "resume", {"after": after})])
    assert [kind for _, kind, _ in kept] == [
        "root",
        *(kind for _, kind, _ in played),
        "rollback",
        "resume",
    ]
