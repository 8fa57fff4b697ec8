"""What a rank says of what it has refused."""

from tdml.wire.guard import Refusals


def test_what_is_refused_again_and_again_crowds_out_nothing() -> None:
    refusals = Refusals()
    refusals.add("once")
    for _ in range(100):
        refusals.add("again")
    assert refusals.take() == ["once", "again", "101 refused in all"]


def test_refusals_are_few_however_many_there_were() -> None:
    refusals = Refusals()
    for number in range(10_000):
        refusals.add(f"attempt {number}")
    taken = refusals.take()
    assert len(taken) == 21
    assert taken[-2:] == ["attempt 9999", "10000 refused in all"]
    assert refusals.take() == []
