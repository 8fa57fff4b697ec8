"""Who is not waited for at every border."""

from tdml.members.absences import Absences


def test_who_does_not_come_is_left_out_for_longer_each_time() -> None:
    absences = Absences()
    due = []
    for border in range(1, 40):
        if absences.pass_border():
            due.append(border)
        if "hostile" not in absences.out and border in {1, *due}:
            absences.note(["hostile"])
    assert due == [3, 6, 11, 20, 37], "1, 2, 4, 8 and 16 borders are passed over"


def test_who_has_come_to_all_is_never_left_out() -> None:
    absences = Absences()
    absences.note([])
    assert not any(absences.pass_border() for _ in range(5))
    assert absences.out == set()
