"""Who repeats a replica's work, in which order, and whose word counts."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tdml.lab.laboratory import Laboratory
from tdml.round.audits import Audits
from tdml.round.validators import asking_order, credible, on_majority_kind, same_kind
from tdml.trust.judgement import Proof

_KINDS = {0: "a", 1: "a", 2: "b", 3: "a", 4: "a", 5: "c"}


def _replica(index: int) -> Any:
    return SimpleNamespace(index=index, kind=_KINDS[index], names=(f"r{index}.s0",))


_FLEET: Any = SimpleNamespace(mustered=lambda indices: [_replica(index) for index in indices])


def _gathered(*indices: int) -> Any:
    start = SimpleNamespace(steps=dict.fromkeys(indices, 3))
    return SimpleNamespace(auditable=indices, start=start)


def _window(number: int) -> Any:
    return SimpleNamespace(number=number)


def test_all_others_of_the_same_kind_are_drawn_each_as_often_first() -> None:
    draw = torch.Generator().manual_seed(0)
    orders = [
        [r.index for r in same_kind(_FLEET, _gathered(*_KINDS), _replica(1), draw)]
        for _ in range(300)
    ]
    assert {tuple(sorted(order)) for order in orders} == {(0, 3, 4)}
    assert all(80 <= [order[0] for order in orders].count(index) <= 120 for index in (0, 3, 4))


def test_the_windows_of_a_replica_begin_with_different_validators() -> None:
    others = [_replica(index) for index in (3, 0, 4)]
    orders = [[r.index for r in asking_order(_window(w), others, Audits())] for w in range(4)]
    assert orders == [[3, 0, 4], [0, 4, 3], [4, 3, 0], [3, 0, 4]]
    assert asking_order(_window(2), [], Audits()) == []


@pytest.mark.parametrize("window", range(3))
def test_who_did_not_answer_is_asked_late_and_who_is_proven_to_lie_last(window: int) -> None:
    audits = Audits(proofs=[Proof(("r0.s0",), "it lied")], unanswered={0, 3})
    others = [_replica(index) for index in (3, 0, 4)]
    assert [each.index for each in asking_order(_window(window), others, audits)] == [4, 3, 0]


def test_more_than_half_vouch_for_each_other() -> None:
    assert on_majority_kind(_FLEET, _gathered(0, 1, 2)) == {0, 1}
    assert on_majority_kind(_FLEET, _gathered(0, 1, 2, 5)) == set(), "half is not most"


def test_the_coordinators_kind_and_that_of_most_are_believed() -> None:
    assert credible(_FLEET, _gathered(0, 1, 2), own="b") == {0, 1, 2}
    assert credible(_FLEET, _gathered(0, 1, 2, 5), own="b") == {2}
    assert credible(_FLEET, _gathered(0, 1, 2), own="elsewhere") == {0, 1}


def test_nobody_repeats_all_windows_of_a_replica() -> None:
    """Where all that a suspect has done is repeated."""
    laboratory = Laboratory([
        "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "sync.local_steps=6",
        "topology.stages=1", "topology.replicas=4", "trust.budget=1",
    ])  # fmt: skip
    audits = laboratory.play(1).audits
    assert sorted(audits) == [0, 1, 2, 3]
    for index, audited in audits.items():
        assert set(audited.validators.values()) == {0, 1, 2, 3} - {index}
