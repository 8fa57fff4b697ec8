"""Cases from their first round to what came of them."""

from dataclasses import replace

import pytest

from tdml.lab.grids import Case
from tdml.lab.runs import run_case
from tests.lab.cases import case


def test_a_case_with_an_update_that_is_not_finite_which_an_audit_proves():
    result = run_case(case("garbage", 1))
    (attacker,) = result["attackers"]
    assert (attacker["first_act"], attacker["convicted"]) == (1, 1)
    assert "not finite" in attacker["reason"]
    assert [honest["banned"] for honest in result["honest"]] == [{}, {}, {}]
    assert list(result["accuracy"]) == [3]


def test_without_audits_nobody_is_banned_for_it():
    result = run_case(case("garbage", 1, defence="tdml-no-audits"))
    (attacker,) = result["attackers"]
    assert (attacker["convicted"], attacker["counted"], result["spent"]) == (None, 0, 0)


def test_a_case_that_cannot_be_is_skipped():
    result = run_case(Case("digits-mlp", 200, 0, 1, "none", "tdml", 0, 1))
    assert (
        "samples are too few for an optimizer step on 8 in each of 200 replicas"
        in result["skipped"]
    )


def test_the_attacking_node_is_named():
    result = run_case(case("garbage", 1, stages=2, single_node=True, seed=1))
    assert result["attackers"][0]["named_right"]


def test_what_a_liar_put_in_before_is_taken_out_again():
    result = run_case(case("gaussian", 1, rounds=4, from_round=3))
    alone = run_case(case("zero_update", 1, rounds=4, extra=("attack.from_round=1",)))
    assert result["void_rounds"] == 3
    assert alone["attackers"][0]["convicted"] == 1
    assert result["final_accuracy"] == alone["final_accuracy"], "as if it had never been there"


@pytest.mark.parametrize("stages", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_stage_that_trains_a_backdoor_into_a_language_model_is_convicted(stages):
    """At once, and nobody else; in a pipeline the stage by its name."""
    found = run_case(
        replace(
            Case("text-gpt", 3, 1, 4, "stage_backdoor", "tdml", 1, 2, stages=stages),
            single_node=stages > 1,
            extra=("trust.budget=1", "attack.steps=20"),
        )
    )
    assert "error" not in found and "skipped" not in found, found
    [attacker] = found["attackers"]
    assert attacker["convicted"] == 1
    assert attacker.get("named_right", True)
    assert not any(honest["banned"] for honest in found["honest"])


def test_a_clean_model_takes_some_stamped_images_for_the_target_too():
    result = run_case(case())
    assert 0 <= result["backdoor_success"] <= 1
    assert "backdoor_success" not in run_case(Case("text-gpt", 2, 0, 1, "none", "tdml", 0, 1))
