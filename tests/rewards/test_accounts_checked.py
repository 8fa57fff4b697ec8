"""What the book refuses: postings that the rules do not give, and entries that cannot be."""

import copy

import pytest

from tdml.rewards.accounts import Accounts, book_of
from tdml.rewards.entries import DEPOSIT, MINT, TREASURY
from tests.rewards.books import NAMES, opened, play
from tests.rewards.stories import ban, job, roster, verdict


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: p.pop(), "posting 5 is nothing; the rules give 600 from mint to held:key-r2.s1"),
        (
            lambda p: p.append(p[0]),
            "posting 6 is 400 from mint to credit:key-r0.s0 .*; the rules give nothing",
        ),
        (lambda p: p.reverse(), "posting 0 is"),
        (lambda p: p[0].update(amount=401), "posting 0 is 401 from mint"),
        (
            lambda p: p[0].update(to="credit:key-r0.s1"),
            "posting 0 is 400 from mint to credit:key-r0.s1",
        ),
        (lambda p: p[0].update({"from": "treasury"}), "posting 0 is 400 from treasury"),
        (lambda p: p[0].update(why="a present"), "a present"),
        (lambda p: p[0].update(amount=True), "Expected `int`"),
        (lambda p: p[0].update(amount=400.0), "Expected `int`"),
        (lambda p: p[0].update(amount=0), "Expected `int` >= 1"),
        (lambda p: p[0].update(more=1), "unknown field"),
        (lambda p: p[0].pop("why"), "missing required field"),
        (lambda p: p.clear(), "posting 0 is nothing"),
    ],
)
def test_postings_that_the_rules_do_not_give(change, reason):
    book = opened()
    for body in (verdict(0), verdict(1), verdict(2, "suspicious")):
        book.apply("verdict", 1, body)
    before, postings = book.balances, book.settle(1)
    change(postings)
    with pytest.raises(ValueError, match=reason):
        book.apply("rewards", 1, {"postings": postings})
    assert book.balances == before


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("verdict", verdict(1, nodes=["r1.s0", "nobody"]), "nobody, which is not in the roster"),
        ("verdict", verdict(1, "malicious", ["nobody"]), "nobody, which is not in the roster"),
        ("verdict", verdict(0), "two verdicts on replica 0"),
        ("verdict", verdict(1, nodes=["r1.s0"]), "1 nodes of 2 stages"),
        ("verdict", verdict(1, "innocent"), "innocent"),
        ("verdict", verdict(1, samples=-1), ">= 0"),
        ("verdict", {}, "missing required field"),
        ("ban", {"node": "r0.s0"}, "missing required field"),
        ("ban", [], "Expected `object`"),
        ("roster", {"keys": {"a": 1}}, "Expected `str`"),
        ("rewards", {}, "missing required field"),
        ("root", {}, "400 from mint to credit:key-r0.s0 .* is still due"),
    ],
)
def test_entries_that_cannot_be(kind, body, reason):
    book = opened()
    book.apply("verdict", 1, verdict(0))
    with pytest.raises(ValueError, match=reason):
        book.apply(kind, 1, body)


def test_a_round_is_settled_before_the_next():
    book = opened()
    book.apply("verdict", 1, verdict(0))
    for kind, body in (
        ("verdict", verdict(1)),
        ("ban", ban("r0.s0")),
        ("rewards", {"postings": []}),
    ):
        with pytest.raises(ValueError, match="round 1 is not settled yet"):
            book.apply(kind, 2, body)


def test_a_job_needs_its_stake():
    with pytest.raises(ValueError, match="no stake"):
        Accounts(job(stake=None), roster(NAMES))
    with pytest.raises(ValueError, match="no entry of the kind roster"):
        book_of([(0, "job", job())])


def test_other_kinds_are_passed_over():
    book = opened()
    before = book.balances
    for kind in ("job", "round", "commit", "reveal", "audit", "refusal", "weights", "end"):
        book.apply(kind, 1, {"anything": 1})
    assert book.balances == before


@pytest.mark.parametrize(
    "account", ["held:key-r0.s0", "credit:key-r0.s0", "stake:key-r0.s0", TREASURY, MINT, DEPOSIT]
)
def test_check_finds_money_that_was_made_or_lost(account):
    book = opened()
    play(book, 1, verdict(0))
    book.check()
    for change in (-10_000, -1, 1, 10_000):
        broken, snapshot = copy.deepcopy(book), book.snapshot()
        snapshot.balances[account] = snapshot.balances.get(account, 0) + change
        broken.restore(snapshot)
        with pytest.raises(ValueError, match=r"fallen|not 0"):
            broken.check()


@pytest.mark.parametrize(
    ("account", "other", "text"),
    [
        ("credit:key-r0.s0", "treasury", "has fallen to"),
        ("credit:key-r0.s0", None, "hold"),
        ("stake:key-r0.s0", "credit:key-r0.s0", "pool in and slashed"),
        ("deposit", "mint", "pool in and slashed"),
    ],
)
def test_books_that_do_not_balance_are_refused(account, other, text):
    book = opened()
    play(book, 1, verdict(0))
    book._move(account, -401 if text == "has fallen to" else -1)
    if other:
        book._move(other, 401 if text == "has fallen to" else 1)
    with pytest.raises(ValueError, match=text):
        book.check()
