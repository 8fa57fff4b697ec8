"""Who is not waited for at every border."""

import pytest

from tdml.members.absences import Absences


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["hostile"], [3, 6, 11, 20, 37]),  # 1, 2, 4, 8 and 16 borders are passed over
        # a key for every time: 8 at most, for honest strangers wait as long
        ([f"hostile {i}" for i in range(40)], [3, 6, 11, 20, 29, 38]),
    ],
)
def test_who_does_not_come_is_left_out_for_longer_each_time(
    keys: list[str], expected: list[int]
) -> None:
    absences = Absences()
    if len(keys) == 1:
        absences.note(keys, [])  # it has come to a session before
    due = []
    for border in range(1, 40):
        if absences.pass_border():
            due.append(border)
        key = keys[len(due) % len(keys)]
        if not absences.is_out(key) and border in {1, *due}:
            absences.note(["honest"], [key])
    assert due == expected
    assert not absences.is_out("honest")


def test_who_has_come_to_all_is_never_left_out() -> None:
    absences = Absences()
    absences.note(["honest"], [])
    assert not any(absences.pass_border() for _ in range(5))
    assert not absences.is_out("honest") and not absences.is_out("a stranger")


def test_who_misses_one_now_and_then_is_left_out_for_one_each_time() -> None:
    absences = Absences()
    absences.note(["node"], [])
    out = 0
    for border in range(1, 402):
        absences.pass_border()
        if absences.is_out("node"):
            out += 1
        elif border % 40 == 0:
            absences.note(["others"], ["node"])
        else:
            absences.note(["node", "others"], [])
    assert out == 10


def test_strangers_that_come_open_the_door_again() -> None:
    absences = Absences()
    absences.note(["node"], ["hostile"])
    assert absences.is_out("a stranger") and not absences.is_out("node")
    absences.pass_border()
    absences.pass_border()
    assert not absences.is_out("a stranger")
    absences.note(["node", "a stranger"], [])
    absences.note(["node"], ["another"])
    absences.pass_border()
    absences.pass_border()
    assert not absences.is_out("yet another")


def test_who_comes_is_forgiven_one_time_of_several() -> None:
    """Or a hostile key would come once in a while, and be waited for at every other border."""
    absences = Absences()
    absences.note(["node"], [])
    for _ in range(3):
        absences.note([], ["node"])
    absences.note(["node"], [])
    absences.note([], ["node"])
    out = 0
    while not absences.pass_border():
        out += absences.is_out("node")
    assert out == 4
