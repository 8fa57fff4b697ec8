import pytest

from tdml.rewards.accounts import Accounts
from tdml.rewards.entries import DEPOSIT, MINT, TREASURY
from tests.rewards.books import MALICIOUS, NAMES, opened, play, purse
from tests.rewards.stories import ban, close, job, roster, verdict

# Stakes


def test_every_key_puts_down_one_stake():
    book = Accounts(job(), roster(["a", "b", "c", "d"], refused=["d"], c="key-a"))
    assert close(book, 0) == [
        {"from": "deposit", "to": "stake:key-a", "amount": 5000, "why": "stake"},
        {"from": "deposit", "to": "stake:key-b", "amount": 5000, "why": "stake"},
    ]
    assert book.balances[DEPOSIT] == -10000
    assert close(book, 1) == []


def test_stakes_are_put_down_in_the_order_of_the_keys_wherever_they_are_computed():
    names = [f"n{number}" for number in range(30)]
    postings = close(Accounts(job(), roster(names)), 0)
    assert [p["to"] for p in postings] == sorted(f"stake:key-{name}" for name in names)


def test_a_key_under_another_name_keeps_its_accounts_and_a_new_one_puts_down_its_stake():
    book = opened()
    play(book, 1, verdict(0))
    book.apply("roster", 2, roster([], moved="key-r0.s0", late="key-late"))
    postings = play(book, 2, verdict(0, nodes=["moved", "late"]))
    assert [p["to"] for p in postings] == ["stake:key-late", "credit:key-r0.s0", "credit:key-late"]
    assert purse(book, "r0.s0") == (800, 0, 5000)


# Who is paid


def test_the_pool_goes_to_the_honest_by_their_work():
    book = opened(shares=[1, 2], pool=1000, samples=[100, 200, 33])
    play(book, 1, verdict(0), verdict(1, samples=200), verdict(2, samples=33))
    assert [purse(book, name)[0] for name in NAMES] == [100, 200, 200, 400, 33, 66, 0]
    assert (book.balances[MINT], TREASURY in book.balances) == (-999, False)


@pytest.mark.parametrize("policy", ["work", "equal"])
def test_the_lost_are_not_paid_and_nobody_gains_by_it(policy):
    whole, alone = opened(policy=policy), opened(policy=policy)
    play(whole, 1, verdict(0), verdict(1), verdict(2))
    play(alone, 1, verdict(0), verdict(1, "lost"), verdict(2, "lost"))
    paid = [purse(alone, name)[0] for name in NAMES]
    assert paid == [*(purse(whole, name)[0] for name in NAMES[:2]), 0, 0, 0, 0, 0]
    assert alone.balances[MINT] == -1000


def test_who_ruins_the_rounds_of_others_earns_no_more_than_by_working():
    """One owner of a replica, and of a node in each of the others', which refuses to agree."""
    own, earned = ["r0.s0", "r0.s1", "r1.s1", "r2.s1"], []
    for lost in (0, 1, 2):
        book = opened()
        play(book, 1, *(verdict(r, "lost" if 0 < r <= lost else "honest") for r in range(3)))
        earned.append(sum(purse(book, name)[0] for name in own))
    assert earned == [1000 + 2 * 600, 1000 + 600, 1000]


def test_a_round_without_work_costs_nothing():
    book = opened()
    assert play(book, 1) == []
    assert play(book, 2, verdict(0, "lost"), verdict(1, "lost")) == []


def test_work_that_is_worth_nothing_costs_nothing():
    book = opened(policy="improvement")
    assert play(book, 1, verdict(0, improvement=-5), verdict(1, improvement=0)) == []


def test_a_suspect_whose_work_was_all_found_again_is_paid_at_once():
    """Its update was too large to count in full, and no lie."""
    book = opened()
    play(book, 1, verdict(0), verdict(1, "suspicious"), verdict(2))
    held = purse(book, "r1.s0")[1]
    play(book, 2, verdict(0), verdict(1, "suspicious", proven=True), verdict(2))
    assert purse(book, "r1.s0") == (held + purse(book, "r0.s0")[0] // 2, 0, 5000)


def test_who_is_partner_of_a_liar_is_paid_by_its_stake_whatever_else_was_found_again():
    liar = verdict(2, "malicious", ["r2.s1"], proven=True)
    postings = play(opened(), 1, verdict(0), verdict(1), liar)
    assert "work of r2.s0, paid by r2.s1's stake" in {posting["why"] for posting in postings}


def test_the_pay_of_a_suspect_is_held_back_until_an_honest_verdict():
    book = opened()
    play(book, 1, verdict(0), verdict(1, "suspicious"))
    assert purse(book, "r1.s1") == (0, 600, 5000)
    play(book, 2, verdict(0), verdict(1, "lost"))
    play(book, 3, verdict(0), verdict(1, "suspicious"))
    assert purse(book, "r1.s1") == (0, 1200, 5000)
    play(
        book,
        4,
        verdict(0, nodes=["r0.s0", "r1.s1"]),
        verdict(1, "suspicious", nodes=["r1.s0", "spare0"]),
    )
    assert purse(book, "r1.s1") == (1800, 0, 5000)
    assert purse(book, "r1.s0") == (0, 1200, 5000)


@pytest.mark.parametrize("status", ["honest", "suspicious", "lost"])
def test_who_is_forgiven_what_it_never_showed_is_not_paid_for_it(status):
    book = opened()
    play(book, 1, verdict(0), verdict(1, "suspicious"))
    play(book, 2, verdict(0), verdict(1, status, forgiven=["r1.s1"]))
    pay = {"honest": (600, 0), "suspicious": (0, 600), "lost": (0, 0)}[status]
    assert purse(book, "r1.s1") == (*pay, 5000)
    play(book, 3, verdict(0), verdict(1))
    assert purse(book, "r1.s1") == (sum(pay) + 600, 0, 5000)
    assert book.balances[TREASURY] == 600


def test_who_is_forgiven_a_round_keeps_what_statistics_have_held_back_of_others():
    book = opened()
    play(book, 1, verdict(0), verdict(1, "suspicious"))
    play(book, 2, verdict(0), verdict(1, "suspicious", samples=50))  # it is asked for, and silent
    play(book, 3, verdict(0), verdict(1, "lost"))  # it is to do the round again
    play(book, 4, verdict(0), verdict(1, forgiven=["r1.s1"]))
    assert purse(book, "r1.s1") == (600 + 600, 0, 5000)
    assert book.balances[TREASURY] == 300


def test_what_cannot_be_averaged_and_was_not_found_again_is_not_paid():
    book = opened()
    play(book, 1, verdict(0), verdict(1, "suspicious", unfound=True))
    play(book, 2, verdict(0), verdict(1))
    assert purse(book, "r1.s1") == (600, 0, 5000)
    assert purse(book, "r0.s1") == (1200, 0, 5000)


def test_two_seats_of_one_key_clear_it_only_together():
    book = Accounts(job(), roster(NAMES, spare0="key-r1.s0"))
    close(book, 0)
    play(book, 1, verdict(0), verdict(1, "suspicious"))
    play(book, 2, verdict(0, nodes=["r0.s0", "spare0"]), verdict(1, "suspicious"))
    assert purse(book, "r1.s0") == (600, 800, 5000)


# Who pays


def test_the_cheat_loses_its_stake_and_pays_its_partner_first():
    book = opened()
    postings = play(book, 1, verdict(0), verdict(1), MALICIOUS, bans=[ban("r2.s1")])
    assert purse(book, "r2.s1") == (0, 0, 0)
    assert purse(book, "r2.s0") == purse(book, "r0.s0") == (400, 0, 5000)
    assert {
        "from": "stake:key-r2.s1",
        "to": "treasury",
        "amount": 5000 - 400,
        "why": "convicted",
    } in postings
    assert book.totals() == {
        "pool_in": 2000, "deposits": 35000, "slashed": 5000, "credit": 2400, "held": 0,
        "treasury": 5000 - 400, "stake": 30000,
    }  # fmt: skip


@pytest.mark.parametrize(("stake", "from_stakes"), [(0, 0), (1, 2), (60, 120), (400, 333)])
def test_where_the_stakes_are_short_the_pool_pays_the_partner(stake, from_stakes):
    book = opened(stake=stake, shares=[1, 1, 1])
    trio = ["r0.s0", "r0.s1", "r1.s0"], ["r2.s0", "r2.s1", "spare0"]
    postings = play(
        book,
        1,
        verdict(0, nodes=trio[0]),
        verdict(1, "malicious", ["spare0", "r2.s0"], nodes=trio[1]),
    )
    assert purse(book, "r2.s1")[0] == 333
    paid = [
        p["amount"]
        for p in postings
        if p["from"].startswith("stake:") and p["to"].startswith("credit:")
    ]
    assert sum(paid) == from_stakes
    assert book.balances[MINT] == -(4 * 333 - from_stakes)


def test_what_was_held_back_is_lost_with_the_conviction_and_credit_is_not():
    book = opened()
    play(book, 1, verdict(2))
    play(book, 2, verdict(2, "suspicious"))
    assert purse(book, "r2.s1") == (600, 600, 5000)
    play(book, 3, MALICIOUS)
    assert purse(book, "r2.s1") == (600, 0, 0)
    assert purse(book, "r2.s0") == (800, 400, 5000)


def test_a_ban_without_a_verdict_takes_the_stake_too():
    book = opened()
    play(
        book, 1, verdict(0), verdict(1, "lost"), bans=[ban("r1.s0"), ban("spare0"), ban("stranger")]
    )
    assert purse(book, "r1.s0") == purse(book, "spare0") == (0, 0, 0)
    assert purse(book, "r0.s0") == (400, 0, 5000)


def test_the_partner_of_a_node_that_is_banned_for_something_else_is_paid_from_the_pool():
    book = opened()
    play(book, 1, verdict(0), bans=[ban("r0.s1")])
    assert (purse(book, "r0.s0"), purse(book, "r0.s1")) == ((400, 0, 5000), (0, 0, 0))
    assert book.balances[TREASURY] == 5000


def test_a_ban_after_the_settlement_is_settled_by_another():
    book = opened()
    book.apply("verdict", 1, verdict(0))
    book.apply("rewards", 1, {"postings": book.settle(1)})
    book.apply("ban", 1, ban("r0.s1"))
    close(book, 1)
    assert purse(book, "r0.s1") == (600, 0, 0)


def test_where_nothing_is_due_a_round_may_end_without_a_settlement():
    book = opened(stake=0)
    book.apply("verdict", 1, verdict(0, "lost"))
    book.apply("ban", 1, ban("r0.s1"))
    book.apply("root", 1, {})
    play(book, 2, verdict(0))
    assert (purse(book, "r0.s0")[0], purse(book, "r0.s1")[0]) == (400, 0)


def test_the_convicted_are_never_paid_again():
    book = opened()
    play(book, 1, MALICIOUS)
    play(book, 2, verdict(2))
    play(book, 3, verdict(2, "suspicious"))
    assert purse(book, "r2.s1") == (0, 0, 0)


def test_a_refusal_that_blames_nobody_holds_the_pay_back():
    book = opened()
    play(book, 1, verdict(0, "malicious"))
    assert purse(book, "r0.s0") == (0, 400, 5000)


# Going back


def test_a_snapshot_brings_back_everything_as_often_as_wanted():
    book = opened()
    play(book, 1, verdict(0), verdict(2, "suspicious"))
    snapshot, balances = book.snapshot(), book.balances
    for _ in range(2):
        play(book, 2, MALICIOUS)
        book.apply("roster", 3, roster(["late"]))
        book.apply("verdict", 3, verdict(0))  # a round that was never settled
        book.restore(snapshot)
        assert book.balances == balances
        assert book.settle(2) == []
    play(book, 2, verdict(2))
    assert purse(book, "r2.s1") == (600 + 600, 0, 5000)


def test_a_ban_takes_what_was_held_back_though_the_verdict_of_that_round_is_honest():
    book = opened()
    play(book, 1, verdict(0, "suspicious"))
    play(book, 2, verdict(0), bans=[ban("r0.s1")])
    assert purse(book, "r0.s1") == (0, 0, 0)
    assert purse(book, "r0.s0") == (800, 0, 5000)


@pytest.mark.parametrize(
    ("chance", "owing", "expected"),
    [(0.05, [], (600, 0)), (0.05, ["key-r1.s1"], (0, 600)), (0.0, [], (0, 600))],
)
def test_with_the_job_ends_what_statistics_alone_have_held_back(chance, owing, expected):
    """But what is still to be shown, and where nobody could find out."""
    book = opened(audit_chance=chance)
    play(
        book, 1, verdict(0), verdict(1, "suspicious"), verdict(2, "suspicious"), bans=[ban("r2.s1")]
    )
    book.apply("end", 2, {"model": "", "reason": "", "owing": owing})
    close(book, 2)
    assert purse(book, "r1.s1")[:2] == expected
    assert purse(book, "r2.s1") == (0, 0, 0)
