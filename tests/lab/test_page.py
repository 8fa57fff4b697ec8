"""The page of what was found: its bars, and who misses them."""

import json
from pathlib import Path

import pytest

from tdml.lab.page import RANDOM_JOBS, page_text
from tdml.lab.tables import summarise
from tests.lab.cases import case

_KEPT = Path(__file__).parents[2] / "docs" / "results" / "detection"
_HONEST = {"banned": {}, "rounds": 4, "lost_weight": 0.0}


def result(accuracy: float, attack: str = "none", attackers: int = 0, **given: object) -> dict:
    changes = {name: given.pop(name) for name in ("seed", "defence", "extra") if name in given}
    attacking = [
        {"replica": 3, "first_act": 1, "convicted": 1, "counted": 0.0, "rounds": 1}
    ] * attackers
    return {
        "case": vars(case(attack, attackers, rounds=4, **changes)), "attackers": attacking,
        "honest": [_HONEST], "accuracy": {"4": accuracy}, "final_accuracy": accuracy,
        "spent": 0.1, "seconds": 1.0, **given,
    }  # fmt: skip


def page(*results: dict) -> str:
    about = {"grid": "clean", "cases": 1, "commits": [], "processor": "", "torch": ""}
    return page_text([about | {"groups": summarise(results)}], None)


def test_the_page_is_what_is_kept() -> None:
    """Nothing on it is written by hand."""
    files = sorted({*_KEPT.glob("*.json")} - {_KEPT / RANDOM_JOBS})
    kept = [json.loads(file.read_text()) for file in files]
    random = json.loads((_KEPT / RANDOM_JOBS).read_text())
    assert _KEPT.with_suffix(".md").read_text() == page_text(kept, random)


@pytest.mark.parametrize(
    ("accuracies", "missed"), [((0.9, 0.5, 0.9), ""), ((0.8, 0.9, 0.8), "0.1")]
)
def test_clean_runs_are_held_against_the_plain_mean_by_the_median_seed(
    accuracies: tuple[float, ...], missed: str
) -> None:
    own = [result(accuracy, seed=seed) for seed, accuracy in enumerate(accuracies)]
    plain = [result(0.9, seed=seed, defence="none") for seed in range(3)]
    text = page(*own, *plain)
    assert f"below the plain mean (median of the seeds)**: met in {int(not missed)} of 1" in text
    assert ("digits-mlp: none, 0 of 4, alike, 1 step (0.100 below)" in text) == bool(missed)
    assert "plain mean" not in page(*own), "there is none to compare them with"


@pytest.mark.parametrize(
    ("spent", "budget", "met"), [(0.1, 0.1, 1), (0.12, 0.1, 0), (0.12, 0.2, 1)]
)
def test_clean_runs_keep_to_their_budget(spent: float, budget: float, met: int) -> None:
    text = page(result(0.9, spent=spent, extra=(f"trust.budget={budget}",)))
    assert f"audits of clean runs take at most trust.budget**: met in {met} of 1" in text
    assert ("(12.0%)" in text) == (not met)


@pytest.mark.parametrize(
    ("success", "clean", "missed"),
    [
        (0.01, None, ""),
        (0.15, 0.14, ""),
        (0.15, 0.12, "0.150, 0.120 clean"),
        (0.15, None, "0.150, clean not measured"),
    ],
)
def test_a_backdoor_is_held_against_a_clean_model(
    success: float, clean: float | None, missed: str
) -> None:
    attacked = result(0.9, "backdoor", 1, backdoor_success=success)
    others = [] if clean is None else [result(0.9, backdoor_success=clean)]
    text = page(attacked, *others)
    assert f"more often than in a clean model**: met in {int(not missed)} of 1" in text
    assert not missed or f"digits-mlp: backdoor, 1 of 4, alike, 1 step ({missed})" in text


def test_without_audits_it_is_held_against_the_best_rule() -> None:
    rules = {"trmean": 0.9, "multikrum": 0.7, "none": 0.99, "tdml": 0.99}
    others = [result(a, "sign_flip", 1, defence=name) for name, a in rules.items()]
    for accuracy, met in ((0.895, 1), (0.88, 0)):
        own = result(accuracy, "sign_flip", 1, defence="tdml-no-audits")
        text = page(own, *others)
        assert f"the best of ByzFL's rules, which are told f**: met in {met} of 1" in text
        assert ("sign_flip, 1 of 4, alike, 1 step (0.020 below)" in text) == (not met)


@pytest.mark.parametrize(
    ("before", "now", "missed"),
    [
        (4, 4, ""),
        (None, None, ""),
        (None, 3, ""),
        (4, 5, "5 rounds, 4 before"),
        (4, None, "inf rounds, 4 before"),
    ],
)
def test_delays_are_held_against_those_of_the_first_version(
    before: int | None, now: int | None, missed: str
) -> None:
    def found(convicted: int | None, **changes: object) -> dict:
        played = result(0.9, "sign_flip", 1, **changes)
        played["attackers"] = [each | {"convicted": convicted} for each in played["attackers"]]
        return played

    own, former = found(now), found(before, defence="tdml-0.1")
    text = page(own, former)
    assert f"by `tdml-0.1` (median)**: met in {int(not missed)} of 1" in text
    assert not missed or f"sign_flip, 1 of 4, alike, 1 step ({missed})" in text
    assert "tdml-0.1` (median)" not in page(own), "nothing to hold it against"
