"""What is kept of a round's audits, window by window."""

from types import SimpleNamespace
from typing import Any

from tdml.round.audits import Audits
from tdml.round.settlement import Settlement
from tdml.trust.judgement import Audited, Proof

_NAMES = {0: ("a",), 1: ("b",), 2: ("c",)}


def _window(replica: int, number: int) -> Any:
    return SimpleNamespace(order=SimpleNamespace(replica=replica), number=number)


def test_a_look_beside_a_repetition_takes_nothing_from_it() -> None:
    audits = Audits()
    audits.found_clean(_window(0, 1), validator=2)
    audits.looked_right(_window(0, 1))
    audits.looked_right(_window(0, 0))
    found = audits.of(0)
    assert (found.clean, found.looked, found.validators) == ((1,), (0,), {1: 2, 0: None})
    assert audits.is_clean(_window(0, 1)) and not audits.is_clean(_window(0, 0))


def test_what_kinds_of_machines_leave_unknown_is_clean_no_longer() -> None:
    audits = Audits()
    for window in (0, 1):
        audits.found_clean(_window(0, window), validator=2)
    audits.leave_unknown(_window(0, 1))
    assert (audits.of(0).clean, audits.of(0).unknown) == ((0,), (1,))
    audits.doubt(0)
    assert (audits.of(0).clean, audits.of(0).looked) == ((), (0,))


def test_a_window_that_could_not_be_settled_is_clean_no_longer() -> None:
    """Its validator has found the same, and the coordinator has not."""
    audits = Audits(drawn={0: (0, 1)})
    for window in (0, 1):
        audits.found_clean(_window(0, window), validator=2)
    audits.left_open(_window(0, 1), "the coordinator does not find what others repeat")
    found = audits.of(0)
    assert (found.clean, found.unsettled[:15], found.validators) == (
        (0,),
        "the coordinator",
        {0: 2, 1: None},
    )
    assert audits.repeated(0, [7, 5]) == 7


def test_what_only_a_liar_has_repeated_is_left_to_be_repeated() -> None:
    audits = Audits(proofs=[Proof(("c",), "it lied")])
    audits.found_clean(_window(0, 0), validator=1)
    audits.found_clean(_window(0, 1), validator=2)
    audits.looked_right(_window(0, 2))
    windows = {0: range(4), 1: range(2)}
    assert audits.rest(windows, _NAMES) == {0: [1, 3], 1: [0, 1]}
    audits.left_open(_window(0, 3), "nobody is confirmed")
    audits.found_lied(_window(1, 0), validator=0)
    assert audits.rest(windows, _NAMES) == {}, "there is nothing to be learnt of them any more"


def test_disputes_are_undecided_window_by_window() -> None:
    proof, audits = Proof(("b",), "it lied"), Audits()
    audits.settlements = [
        Settlement(0, 1, 1, proofs=(proof,), place="here"),
        Settlement(0, 1, 2, place="here", unsure=True),
        Settlement(0, 1, 3, place="here"),
        Settlement(0, 2, 4, place="here", unsure=True),
        Settlement(5, 1, 6, place="here", unsure=True),
    ]
    assert [each.validator for each in audits.left_undecided(_window(0, 1))] == [2, 3]
    assert audits.unsure(_window(0, 1)) == {2}, "of the other nobody was found wrong"


def test_those_of_others_are_joined_to_them() -> None:
    proofs, settlements = [Proof(("a",), "it lied")], [Settlement(0, 0, 1)]
    others = Audits(
        {}, {0: Audited(lied=(0,))}, proofs, {"c"}, settlements, steps=3, looks=2, notes=["so"]
    )
    audits = Audits({}, {1: Audited(clean=(0,))}, [], {"b"}, [], steps=4, looks=1, notes=[])
    audits.join(others)
    by_replica = {0: Audited(lied=(0,)), 1: Audited(clean=(0,))}
    assert audits == Audits(
        {}, by_replica, proofs, {"b", "c"}, settlements, steps=7, looks=3, notes=["so"]
    )


def test_only_what_chance_chose_and_was_shown_counts_as_verified() -> None:
    """Whoever looks suspicious is looked at more often, and must not be paid for that."""
    steps = [7, 5, 3, 2]
    audits = Audits(drawn={0: (0, 2, 3), 1: (1,)})
    assert audits.repeated(0, steps) == 0, "nobody has repeated them yet"
    for window in (0, 1):
        audits.found_clean(_window(0, window), validator=2)
    audits.looked_right(_window(0, 2))
    assert audits.repeated(0, steps) == 7 + 3
    audits.leave_unknown(_window(0, 3))
    audits.left_open(_window(0, 3), "it has not shown its work")
    assert audits.repeated(0, steps) == 7 + 3
    assert audits.repeated(1, steps) == audits.repeated(2, steps) == 0
    audits.found_clean(_window(2, 0), validator=1)
    assert audits.repeated(2, steps) == 0, "chance chose none of its windows"


def test_partners_of_who_is_proven_to_lie_are_paid_for_all_that_chance_chose() -> None:
    """What follows the lie is not repeated any more."""
    audits = Audits(drawn={0: (0, 2)})
    audits.found_lied(_window(0, 0), validator=2)
    assert audits.repeated(0, [7, 5, 3]) == 7 + 3
