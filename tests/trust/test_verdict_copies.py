"""Verdicts on replicas that hand in the same numbers."""

import pytest

from tdml.trust.grounds import Finding, _copies
from tdml.trust.verdict import HONEST, MALICIOUS, SUSPICIOUS, decide
from tests.trust.hearings import CLEAN, IDLE, WORKED, found, heard, verdicts


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("original", [0, 1, 3])
def test_of_a_group_of_equals_the_one_who_knows_its_samples_is_spared(original, alike):
    works = [IDLE if row in (0, 1, 3) and row != original else WORKED for row in range(8)]
    copied = found(equals=[(0, 1, 3)])
    status = [verdict.status for verdict in verdicts(heard(works), copied, [copied], alike=alike, replicas=8)]
    assert status == [SUSPICIOUS if row == original else MALICIOUS if row in (0, 1, 3) else HONEST for row in range(8)]


def test_of_equals_of_whom_nobody_worked_nobody_is_spared():
    copied = found(equals=[(1, 2)])
    works = [WORKED, IDLE, IDLE, WORKED, WORKED, WORKED]
    found_ = verdicts(heard(works), CLEAN, [CLEAN, copied], replicas=6)
    assert [verdict.status for verdict in found_] == [HONEST, MALICIOUS, MALICIOUS, HONEST, HONEST, HONEST]
    assert found_[1].stages == found_[2].stages == (0, 1)
    again = verdicts(
        heard(works), CLEAN, [CLEAN, copied], replicas=6, suspected_before=[(), (1,), (), (), (), ()]
    )  # fmt: skip
    assert (again[1].stages, again[2].stages) == ((1,), (0, 1))
    lenient = decide(heard(works), CLEAN, [CLEAN, copied], [0.0] * 6, True, conviction=100.0)
    assert [verdict.status for verdict in lenient] == [verdict.status for verdict in found_]


def test_equals_of_whom_not_all_were_heard_are_suspicious():
    copied = found(equals=[(1, 2)])
    for hearing in (None, heard([WORKED, WORKED, WORKED], candidates=(0, 1, 3))):
        status = [verdict.status for verdict in verdicts(hearing, copied)]
        assert status == [HONEST, SUSPICIOUS, SUSPICIOUS, HONEST]


def test_two_groups_of_equals_are_judged_each_by_itself():
    copied = found(equals=[(0, 1), (4, 5)])
    works = [WORKED, IDLE, WORKED, WORKED, IDLE, WORKED]
    status = [verdict.status for verdict in verdicts(heard(works), copied, replicas=6)]
    assert status == [SUSPICIOUS, MALICIOUS, HONEST, HONEST, MALICIOUS, SUSPICIOUS]


@pytest.mark.parametrize(
    ("against", "guilty"),
    [
        ({0: 0.19, 2: 0.0}, set()),  # so it was seen: the original knew its samples a little less well than its copy
        ({0: 0.0, 2: 3.3}, set()),
        ({0: 0.0, 2: 3.4}, {2}),
        ({0: -2.0, 2: 1.4}, {2}),
        ({0: 3.4, 2: 5.0}, {0, 2}),
        ({0: -5.0, 2: -1.0, 3: -4.0}, {2}),
    ],
)
def test_a_copy_is_told_from_its_original_by_more_than_chance(against: dict[int, float], guilty: set[int]) -> None:
    assert _copies({tuple(against)}, {row: Finding(nats) for row, nats in against.items()}) == guilty
