"""Whom a round's budget is spent on."""

import math

import pytest
import torch

from tdml.trust.suspicion import Candidate, Purse, Suspicion
from tdml.trust.work import WorkResult

_SEEN, _IDLE = WorkResult(1e-4), WorkResult(0.9)


def test_suspicion_is_a_sum_of_what_was_not_looked_at() -> None:
    memory = Suspicion()
    first = memory.add(["r0.s0"], 4.0, _IDLE)
    assert first == pytest.approx(1 + math.log(1 / 0.9) / math.log(0.01) + 0.5, abs=0.03)
    assert memory.add(["r0.s0"], 0.0, _SEEN) == first
    memory.clear(["r0.s0"], 1 / 3)
    assert memory.add(["r0.s0"], 0.0, None) == pytest.approx(2 / 3 * first)
    memory.clear(["r0.s0"], 1.0)
    assert memory.add(["r0.s0"], 2.0, None) == pytest.approx(0.25)
    assert memory.add(["spare0"], 0.0, _SEEN) == 0.0, "who takes the place begins anew"


def test_suspicion_goes_with_each_node_wherever_it_sits_and_whoever_sits_beside_it() -> None:
    """Or who has two keys would begin anew, before its turn comes, as often as it changes them."""
    memory = Suspicion()
    first = memory.add(["r0.s0", "r0.s1"], 4.0, _IDLE)
    assert memory.add(["r0.s0", "spare0"], 0.0, _SEEN) == first
    assert memory.add(["r1.s0", "r0.s1"], 0.0, _SEEN) == first
    memory.clear(["r0.s0", "r0.s1"], 1.0)
    assert memory.add(["r0.s0", "spare0"], 0.0, _SEEN) == 0.0


def test_of_the_farthest_and_the_surest_it_is_a_number_too() -> None:
    """Who equals another is infinitely far, and of much work the chance of luck is rounded to 0."""
    assert Suspicion().add(["r0.s0"], math.inf, WorkResult(0.0)) == 0.5


def test_everybody_has_his_turn_as_often_as_he_looks_suspicious() -> None:
    """Of four honest replicas one always stands out: it must not draw all of the attention."""
    memory, purse, draw = Suspicion(), Purse(), torch.Generator().manual_seed(0)
    hits = [0] * 4
    for _ in range(200):
        found = {i: memory.add([f"r{i}.s0"], 3.9 if i == 3 else 1.0, None) for i in range(4)}
        candidates = {i: Candidate((2, 2), suspicion, False) for i, suspicion in found.items()}
        chosen, _ = purse.choose(candidates, 0.0, 0.2 * 16, draw)
        for i, windows in chosen.items():
            memory.clear([f"r{i}.s0"], len(windows) / 2)
            hits[i] += len(windows)
    shares = [count / sum(hits) for count in hits]
    assert shares == pytest.approx([1 / 6.9] * 3 + [3.9 / 6.9], abs=0.03)


def choose(
    budget: float, rounds: int, at_once: int = -1, seed: int = 0, looks: int = 0
) -> tuple[float, list[dict]]:
    """The share of all steps that was spent, and the windows of every round. `looks`: steps more
    that a round's audits take."""
    purse, draw, chosen, spent = Purse(), torch.Generator().manual_seed(seed), [], 0
    for _ in range(rounds):
        candidates = {i: Candidate((3, 3, 4), 0.1 * i, i == at_once) for i in range(8)}
        chosen.append(purse.choose(candidates, budget / 2, budget * 80, draw)[0])
        purse.steps -= looks
        spent += sum((3, 3, 4)[w] for found in chosen[-1].values() for w in found) + looks
    return spent / (80 * rounds), chosen


@pytest.mark.parametrize("budget", [0.05, 0.1, 0.3, 0.99])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("looks", [0, 1])
def test_what_is_spent_keeps_to_the_budget(budget: float, seed: int, looks: int) -> None:
    share, _ = choose(budget, 40, seed=seed, looks=looks)
    assert 0.85 * budget <= share <= budget + 0.005


def test_with_the_whole_budget_everything_is_repeated() -> None:
    _, chosen = choose(1.0, 5, looks=8)
    assert all(windows == dict.fromkeys(range(8), (0, 1, 2)) for windows in chosen)


def test_half_goes_to_chance_and_half_to_the_most_suspicious() -> None:
    _, chosen = choose(0.1, 400)
    hits = [sum(len(windows.get(i, ())) for windows in chosen) for i in range(8)]
    assert max(hits[:5]) < 1.6 * 400 * 3 * 0.05, "by chance alone"
    assert hits[7] > 5 * hits[0]
    assert min(hits) > 0.5 * 400 * 3 * 0.05, "whoever is suspected, chance looks at everybody"


def test_who_stands_out_is_looked_at_at_once_and_that_is_saved_up() -> None:
    share, chosen = choose(0.2, 40, at_once=3)
    assert all(windows[3] == (0, 1, 2) for windows in chosen)
    assert share <= 0.25


def test_who_stands_out_in_every_round_takes_more_than_the_budget() -> None:
    """One honest replica of eight, on skewed shares: else its work would not count. So long as that
    is so, docs/detection.md has to say it."""
    share, _ = choose(0.1, 200, at_once=3)
    assert share > 0.18


def test_what_chance_has_chosen_is_told_from_the_rest() -> None:
    """By that it is learnt how often honest work is seen."""
    candidates = {i: Candidate((3, 3, 4), float(i), i == 2) for i in range(4)}
    _, drawn = Purse(40.0).choose(candidates, 0.0, 8.0, torch.Generator().manual_seed(0))
    assert drawn == {}
    chosen, drawn = Purse(40.0).choose(candidates, 0.3, 8.0, torch.Generator().manual_seed(0))
    assert drawn and all(set(windows) <= set(chosen[i]) for i, windows in drawn.items())


def test_honest_ones_that_stand_out_do_not_hide_who_makes_them_do_so() -> None:
    """Three are audited in full in every round of a burst, for more than ten rounds' budget."""
    purse, draw = Purse(), torch.Generator().manual_seed(0)
    for _ in range(4):
        burst = {i: Candidate((3, 3, 4), 0.0, i < 3) for i in range(8)}
        purse.choose(burst, 0.0, 8.0, draw)
    calm = {i: Candidate((3, 3, 4), float(i == 7), False) for i in range(8)}
    looked_at = [purse.choose(calm, 0.0, 8.0, draw)[0] for _ in range(3)]
    assert [set(found) for found in looked_at] == [set(), set(), {7}]


def test_for_each_that_stands_out_a_window_of_the_others_is_looked_at() -> None:
    """Whatever was spent before, and however little these are suspected."""
    purse, draw, met = Purse(), torch.Generator().manual_seed(0), set[int]()
    for _ in range(20):
        burst = {i: Candidate((3, 3, 4), float(i < 3), i < 3) for i in range(8)}
        chosen, _ = purse.choose(burst, 0.0, 8.0, draw)
        assert all(chosen[i] == (0, 1, 2) for i in range(3))
        assert sum(len(chosen.get(i, ())) for i in range(3, 8)) == 3
        met |= set(chosen)
    assert met == set(range(8))


@pytest.mark.parametrize("replicas", [2, 3])
def test_of_those_who_are_as_suspicious_each_has_his_turn(replicas: int) -> None:
    """As both of two replicas are, which nothing compares: else the last would be met by chance
    alone."""
    purse, draw, hits = Purse(), torch.Generator().manual_seed(0), [0] * replicas
    for _ in range(300):
        candidates = {i: Candidate((3, 3, 4), 0.0, False) for i in range(replicas)}
        chosen, _ = purse.choose(candidates, 0.05, 0.1 * 10 * replicas, draw)
        for i, windows in chosen.items():
            hits[i] += len(windows)
    assert max(hits) < 1.3 * min(hits)


def test_nothing_is_chosen_where_there_is_nothing() -> None:
    assert Purse().choose({}, 0.5, 10.0, torch.Generator()) == ({}, {})
