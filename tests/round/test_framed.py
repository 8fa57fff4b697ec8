"""Whatever a node sends, says, or has had signed: its honest neighbours are not banned for it."""

import pytest

from tdml.lab.laboratory import Laboratory
from tests.round import framers, liars
from tests.round.seats import banned, sit

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "sync.local_steps=6",
    "topology.stages=2", "topology.replicas=3", "trust.budget=1", "rounds=3",
]  # fmt: skip


@pytest.mark.parametrize("as_validator", [True, False], ids=["validator", "owner"])
def test_who_logs_another_message_than_it_sends_when_asked_for_every_step(
    as_validator: bool,
) -> None:
    laboratory = Laboratory(_JOB)
    sit(laboratory, "r1.s0", framers.Framer, as_validator=as_validator)
    played = laboratory.play(1)
    assert list(played.bans) == ["r1.s0"]
    assert "has not signed" in played.judgements[1].reason


def test_who_does_so_where_nobody_but_the_coordinator_looks() -> None:
    laboratory = Laboratory([*_JOB, "topology.replicas=1"])
    sit(laboratory, "r0.s0", framers.Framer, as_validator=False)
    assert list(laboratory.play(1).bans) == ["r0.s0"]


def test_what_was_signed_in_one_run_of_a_round_says_nothing_of_the_next() -> None:
    laboratory = Laboratory(_JOB)
    sit(laboratory, "r1.s0", framers.Replayer)
    assert not laboratory.play(1).bans, "it may have been silent by chance"
    assert laboratory.fleet.muster()
    assert list(laboratory.play(2).bans) == ["r1.s0"]


@pytest.mark.parametrize("own", [True, False], ids=["its own", "repeated for others"])
def test_who_logs_where_it_is_no_end_of_a_channel_costs_nobody_else_anything(own: bool) -> None:
    """Nobody signs it, and no dispute would ever come to it."""
    laboratory = Laboratory([*_JOB, "topology.stages=3"])
    sit(laboratory, "r1.s0", framers.Scribbler, own=own)
    played = laboratory.play(1)
    assert list(played.bans) == ["r1.s0"]
    assert {0, 2} <= set(played.accepted)


def _until_somebody_is_banned(laboratory: Laboratory) -> list[str]:
    return next(filter(None, (banned(laboratory.play(number)) for number in range(1, 7))))


def test_a_false_accusation_is_proven_though_a_partner_of_the_accused_hinders_that() -> None:
    """By another who has found what the accused has."""
    laboratory = Laboratory(_JOB)
    sit(laboratory, "r0.s0", framers.Accuses)
    sit(laboratory, "r1.s1", framers.Hinders)
    assert _until_somebody_is_banned(laboratory) == ["r0.s0"]


@pytest.mark.parametrize("seed", range(2))
def test_who_is_right_against_a_league_is_not_banned_for_its_partner(seed: int) -> None:
    """It accuses a liar, whom a third finds right, and its partner hinders that."""
    laboratory = Laboratory([*_JOB, f"seed={seed}"])
    sit(laboratory, "r0.s1", framers.Hinders)
    sit(laboratory, "r1.s0", liars.Liar)
    sit(laboratory, "r2.s0", liars.InLeague)
    assert "r0.s0" not in _until_somebody_is_banned(laboratory)
