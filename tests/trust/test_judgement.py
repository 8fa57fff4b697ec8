"""What an update counts, and what is said of it."""

import random

import pytest

from tdml.trust.judgement import Audited, Evidence, Power, Proof, judge, lost
from tdml.trust.work import WorkResult

SEEN, UNSEEN = WorkResult(1e-6), WorkResult(0.46)


def evidence(**given: object) -> Evidence:
    return Evidence(**{"nodes": ("a", "b"), "samples": 10, "size": 1.0} | given)


def one(streak: float = 5, iid: bool = True, **given: object):
    found = {0: evidence(**given), 1: evidence(work=SEEN), 2: evidence(work=SEEN)}
    return judge(found, streak, iid)[0]


@pytest.mark.parametrize(
    ("given", "weight", "scale", "status"),
    [
        ({}, 1, 1, "honest"),
        ({"work": SEEN}, 1, 1, "honest"),
        ({"work": SEEN, "size": 2.9}, 1, 1, "honest"),
        ({"work": SEEN, "size": 6.0}, 1, 0.5, "suspicious"),
        ({"size": 1.4}, 1, 1, "honest"),
        ({"size": 3.0}, 1, 0.5, "suspicious"),
        ({"verified": True, "size": 2.9}, 1, 1, "honest"),
        ({"work": UNSEEN}, 0.9, 1, "suspicious"),
        ({"work": UNSEEN, "verified": True}, 1, 1, "honest"),
        ({"audited": Audited(clean=(0,))}, 1, 1, "honest"),
        ({"distance": 4.0}, 1, 1, "honest"),
        ({"distance": 5.0, "screen_reason": "far"}, 0, 1, "suspicious"),
        ({"distance": 5.0, "screen_reason": "far", "verified": True}, 1, 1, "honest"),
        ({"fault": "not finite"}, 0, 1, "suspicious"),
        ({"fault": "not finite", "verified": True}, 0, 1, "suspicious"),
        ({"audited": Audited(unsettled="nobody is confirmed")}, 0, 1, "suspicious"),
        ({"proof": Proof(("b",), "it lied")}, 0, 1, "malicious"),
        ({"proof": Proof(("b",), "it lied"), "verified": True, "work": SEEN}, 0, 1, "malicious"),
    ],
)
def test_what_counts(given: dict, weight: float, scale: float, status: str) -> None:
    made = one(**given)
    assert (made.weight, made.scale, made.status) == (weight, pytest.approx(scale), status)
    assert bool(made.reason) == (status != "honest"), "whatever does not count in full says why"
    assert made.accepted == (weight > 0)
    assert made.blamed == (("b",) if status == "malicious" else ())
    assert made.verified == given.get("verified", False)
    assert made.unfound == ("fault" in given and not made.verified), "statistics alone hurt nobody"


@pytest.mark.parametrize(
    ("audited", "verified"),
    [
        (Audited(clean=(0, 1, 2)), True),
        (Audited(clean=(0, 2)), False),
        (Audited(clean=(0, 2), looked=(1,)), False),
        (Audited(clean=(0, 1, 2), unsettled="the coordinator's look was not answered"), False),
        (Audited(clean=(0, 1, 2), lied=(1,)), False),
    ],
)
def test_a_round_was_repeated_in_full_only_where_nothing_was_found_amiss(
    audited: Audited, verified: bool
) -> None:
    assert audited.all_clean(range(3)) == verified


def test_sizes_after_fewer_steps_say_nothing_of_the_others() -> None:
    few = evidence(size=0.1, all_steps=False)
    made = judge({0: few, 1: few, 2: few, 3: evidence(), 4: evidence(size=1.4)}, 5, True)
    assert {judgement.status for judgement in made.values()} == {"honest"}
    large = judge({0: evidence(size=3.0, all_steps=False), 1: evidence(), 2: evidence()}, 5, True)
    assert large[0].scale == pytest.approx(0.5), "nor may they be larger"
    alone = judge({0: few, 1: evidence(size=0.4, all_steps=False)}, 5, True)
    assert alone[1].scale == pytest.approx(1.5 * 0.1 / 0.4), "unless there are no others"


def test_more_steps_may_make_an_update_larger_and_nobody_elses_smaller() -> None:
    made = judge({0: evidence(size=4.0, stretch=3.0), 1: evidence(), 2: evidence()}, 5, True)
    assert [made[index].scale for index in range(3)] == [1, 1, 1]
    made = judge({0: evidence(size=9.0, stretch=3.0), 1: evidence(), 2: evidence()}, 5, True)
    assert [made[index].scale for index in range(3)] == pytest.approx([0.5, 1, 1])


def test_of_two_who_was_repeated_by_the_other_counts_at_any_size() -> None:
    """Nothing tells which size is usual, and of the two one is honest if the other lies. With three
    two may be in league."""
    large = evidence(size=5.0, verified=True)
    made = judge({0: large, 1: evidence()}, 5, True)
    assert (made[0].status, made[0].scale) == ("honest", 1)
    assert judge({0: evidence(size=5.0), 1: evidence()}, 5, True)[0].scale == pytest.approx(0.3)
    assert judge({0: large, 1: evidence(), 2: evidence()}, 5, True)[0].scale == pytest.approx(0.6)
    faulty = {0: large, 1: evidence(), 2: evidence(fault="not finite")}
    assert judge(faulty, 5, True)[0].scale == pytest.approx(0.6), "who is out may have repeated it"


def test_what_can_never_be_repeated_says_so_and_waits_for_nothing() -> None:
    made = one(unchecked="not checked")
    assert (made.status, made.weight, made.reason) == ("honest", 1, "not checked")
    assert one(unchecked="not checked", size=3.0).scale == pytest.approx(0.5)
    made = one(unchecked="not checked", distance=5.0, screen_reason="far")
    assert (made.weight, made.reason) == (0, "far: it does not count; not checked")


def test_with_skewed_shares_the_work_test_does_not_vouch() -> None:
    assert one(iid=False, work=UNSEEN).weight == 1
    assert one(iid=False, work=SEEN, size=1.9).scale < 1


@pytest.mark.parametrize(("streak", "weight"), [(1, 0.98), (9, 0.82), (50, 0), (99, 0)])
def test_who_was_not_seen_counts_the_less_the_better_honest_work_is_seen(
    streak: int, weight: float
) -> None:
    made = one(streak=streak, work=UNSEEN)
    assert made.weight == pytest.approx(weight, abs=1e-9)
    assert (made.status, made.verified) == ("suspicious", False)


@pytest.mark.parametrize("beta", [0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 0.999])
def test_however_often_honest_work_is_seen_it_loses_a_fiftieth_of_its_weight_at_most(
    beta: float,
) -> None:
    """Also where it is seen less and less, as in rounds that change ever less."""
    weights = [one(streak=streak, work=UNSEEN).weight for streak in range(60)]
    draw, rounds = random.Random(0), 20_000
    for falls in (0.0, 1.0):
        power, lost_weight = Power(), 0.0
        for i in range(rounds):
            seen = draw.random() < beta * (1 - falls * i / rounds)
            lost_weight += 0.0 if seen else 1 - weights[min(power.streak, 59)]
            power.add(seen)
        assert lost_weight / rounds <= 0.0215


@pytest.mark.parametrize(("seen", "weight"), [(7, 0.5), (5, 0.5), (4, 0.92), (1, 0.995), (0, 1)])
def test_where_less_of_a_majority_is_seen_than_before_the_rest_counts_more(
    seen: int, weight: float
) -> None:
    """As at a run's end: else honest work would lose half of its weight there."""
    found = {i: evidence(work=SEEN if i < seen else UNSEEN) for i in range(8)}
    assert judge(found, 25, True)[7].weight == pytest.approx(weight)


@pytest.mark.parametrize(
    ("other", "weight"),
    [({"work": SEEN}, 0.98), ({"verified": True}, 0.98), ({"work": UNSEEN}, 1), ({}, 1)],
)
def test_where_nobody_was_seen_nobody_counts_less_than_another(other: dict, weight: float) -> None:
    """As in rounds that change little, where the test sees hardly anybody."""
    found = {0: evidence(work=UNSEEN), 1: evidence(work=UNSEEN), 2: evidence(**other)}
    made = judge(found, 9, True)
    assert [made[0].weight, made[1].weight, made[2].weight] == pytest.approx([weight, weight, 1])
    refused = found | {2: evidence(work=SEEN, distance=9.0, screen_reason="far")}
    assert judge(refused, 9, True)[0].weight == 1, "who does not count is no measure"


@pytest.mark.parametrize(
    "why", [{"distance": 9.0}, {"proof": Proof(("a",), "it lied")}, {"fault": "not finite"}]
)
def test_what_is_left_out_does_not_move_the_median_size(why: dict) -> None:
    left_out = {i: evidence(size=0.1, **why) for i in (2, 3, 4)}
    found = {0: evidence(size=1.0), 1: evidence(size=1.2), **left_out}
    assert [made.scale for made in judge(found, 5, True).values()][:2] == [1.0, 1.0]


def test_where_most_have_learnt_nothing_there_is_no_usual_size() -> None:
    found = {0: evidence(size=0.0), 1: evidence(size=0.0), 2: evidence(size=1.0)}
    assert [made.scale for made in judge(found, 5, True).values()] == [1.0, 1.0, 1.0]


def test_of_two_the_smaller_is_the_measure() -> None:
    made = judge({0: evidence(size=1.0), 1: evidence(size=6.0)}, 5, True)
    assert (made[0].scale, made[1].scale) == (1.0, 0.25)


def test_who_handed_in_nothing_is_lost() -> None:
    assert (lost(3, ["a"], "late").status, lost(3, ["a"], "late").accepted) == ("lost", False)


def test_power_is_learnt_from_clean_rounds() -> None:
    power = Power()
    assert power.streak == 0, "of what is not known nobody is accused"
    streaks = []
    for seen in (True, True, False, True):
        power.add(seen)
        streaks.append(power.streak)
    assert streaks == [1, 2, 0, 1]


def test_a_proven_liar_is_not_told_to_wait() -> None:
    waits = "far: it does not count until its work is found again"
    assert one(distance=5.0, screen_reason="far").reason == waits
    liar = one(distance=5.0, screen_reason="far", proof=Proof(("b",), "it lied"))
    assert liar.reason == "it lied; far"
