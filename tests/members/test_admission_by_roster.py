"""Who may take part where there is a roster."""

import pytest

from tests.members.test_admission import _CARDS, _GIVEN, _KEYS, later, make_admission, reasons


def test_with_a_roster_other_keys_are_refused() -> None:
    admission = make_admission(given=_GIVEN | {"r1.s0": "9" * 64})
    admitted = admission.admit(_CARDS[1:], "session", (), first=True)
    assert list(admitted.members) == ["coordinator", "r0.s0"]
    assert "identity.roster" in reasons(admitted)["visit2"]
    assert admission.roster.keys["r1.s0"] == "9" * 64, "the roster in force is the one given"


def test_with_a_roster_only_who_is_in_it_may_join_under_the_name_that_it_has_there() -> None:
    admission = make_admission(given=_GIVEN | {"spare5": _KEYS[3].public})
    admission.admit(_CARDS[1:], "session", (), first=True)
    admitted = admission.admit([later(3), later(4)], "session", (), first=False)
    assert list(admitted.members) == ["coordinator", "spare5"]
    assert "identity.roster" in reasons(admitted)["late4"]
    assert admitted.faults == {f"key {_KEYS[4].public[:16]}…": reasons(admitted)["late4"]}, (
        "the coordinator's user is told"
    )


@pytest.mark.parametrize("first", [True, False])
def test_with_a_roster_no_stranger_is_a_rank_that_the_job_has_not(first: bool) -> None:
    """The number on a card is whatever its author likes."""
    admission = make_admission(given=_GIVEN)
    admitted = admission.admit([*_CARDS[1:], later(3, rank=7)], "session", (), first)
    assert list(admitted.present) == ["r0.s0", "r1.s0"]
    assert "identity.roster" in reasons(admitted)["late3"]
    assert admission.roster.keys == _GIVEN


def test_with_a_roster_who_had_joined_before_it_is_a_stranger() -> None:
    admission = make_admission(given=_GIVEN, former={"spare3": _KEYS[3].public})
    admitted = admission.admit([later(3)], "session", (), first=False)
    assert (admitted.present, list(reasons(admitted))) == ({}, ["late3"])
