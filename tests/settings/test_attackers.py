"""Who attacks, and when, is named where it cannot be."""

import math

import pytest

from tests.settings.configs import ATTACK, refused_by_check


@pytest.mark.parametrize("first", [None, 1.5])
def test_an_attack_needs_a_round_to_start_from(first):
    message = refused_by_check(ATTACK | {"attack.replicas": [1], "attack.from_round": first})
    assert message.startswith(f"attack.from_round={first} must be the first round")


def test_an_attack_needs_the_share_of_rounds_in_which_it_acts():
    message = refused_by_check(ATTACK | {"attack.replicas": [1], "attack.share_of_rounds": None})
    assert message.startswith("attack.share_of_rounds is empty")


@pytest.mark.parametrize("share", [0, -0.5, 1.5, math.nan])
def test_attackers_act_in_some_of_the_rounds(share):
    message = refused_by_check(ATTACK | {"attack.replicas": [1], "attack.share_of_rounds": share})
    assert message.startswith(f"attack.share_of_rounds={share} must be a finite number above 0 and")


@pytest.mark.parametrize(
    ("attackers", "message"),
    [
        ({"attack.nodes": ["r00.s1"]}, "attack.nodes names r00.s1"),
        ({"attack.replicas": [1.0]}, "attack.replicas names 1.0"),
    ],
)
def test_attackers_are_written_as_the_nodes_are(attackers, message):
    assert refused_by_check(ATTACK | attackers).startswith(message)
