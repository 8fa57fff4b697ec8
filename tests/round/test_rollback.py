"""From where a run goes on after a proof."""

from tdml.round.checkpoint import to_keep
from tdml.round.rollback import Unproven, rounds_until_caught


def test_the_first_round_that_may_hold_something() -> None:
    unproven = Unproven()
    for number in (1, 2, 4):
        unproven.add(number, ["a"])
    unproven.add(3, ["b"])
    assert unproven.first(["a"], 5, budget=0.1) == 1
    assert unproven.first(["b", "c"], 5, budget=0.1) == 3
    assert unproven.first(["c"], 5, budget=0.1) is None
    assert unproven.first(["b"], 3, budget=0.1) is None, (
        "the round in which it was found does not count it"
    )


def test_it_goes_back_no_further_than_lies_can_reasonably_go_back() -> None:
    assert (
        (1 - 0.05) ** rounds_until_caught(0.1)
        <= 0.01
        < (1 - 0.05) ** (rounds_until_caught(0.1) - 1)
    )
    unproven = Unproven()
    for number in range(1, 200):
        unproven.add(number, ["a"])
    assert unproven.first(["a"], 200, budget=0.1) == 200 - rounds_until_caught(0.1)


def test_liars_who_confess_one_by_one_cannot_keep_a_run_from_its_end() -> None:
    unproven = Unproven()
    assert unproven.may_go_back(0, 6, rounds=10)
    unproven.add(7, ["a"])
    unproven.forget(0, 6)
    assert unproven.rounds == {"a": []} and unproven.taken_back == 6
    assert not unproven.may_go_back(0, 6, rounds=10)
    assert unproven.may_go_back(2, 6, rounds=10)


def test_checkpoints_are_kept_at_growing_distances() -> None:
    there: list[int] = []
    for number in range(1, 200):
        there = to_keep([*there, number])
        assert there[0] == number and (number == 1 or there[1] == number - 1)
        assert len(there) <= 4 * number.bit_length()
        for distance in (1, 3, 10, 30, 100):
            if number > 2 * distance:
                assert any(distance <= number - kept <= 2 * distance for kept in there), (
                    number,
                    distance,
                    there,
                )
