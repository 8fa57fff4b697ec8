"""How often replicas are asked to repeat the work of who fails: each answer is waited for."""

from collections import Counter

import pytest

from tdml.lab.laboratory import Laboratory
from tests.round import unhelpful
from tests.round.seats import sit

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=8", "sync.local_steps=6",
    "topology.replicas=6", "topology.stages=1", "trust.budget=0.5", "rounds=2",
]  # fmt: skip
_EVERY = (0, 1, 2)


def _laboratory(windows: dict[int, tuple[int, ...]], monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    """In which these windows are audited, and no others."""
    monkeypatch.setattr("tdml.trust.suspicion.Purse.choose", lambda *_: (windows, {}))
    monkeypatch.setattr("tdml.round.auditor.LOOK", 0.0)
    return Laboratory(_JOB)


def test_two_who_agree_against_a_liar_that_hides_are_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would have all others repeat all of its windows, one after the other."""
    laboratory, asked = _laboratory({0: _EVERY}, monkeypatch), Counter[tuple[int, int]]()
    sit(laboratory, "r0.s0", unhelpful.FailsInDisputes)
    for index in range(1, 6):
        sit(laboratory, f"r{index}.s0", unhelpful.Asked, asked=asked)
    played = laboratory.play(1)
    assert asked == {(0, first): 2 for first in (0, 2, 4)}
    assert played.judgements[0].weight == 0
    assert list(laboratory.engine.judge.debts.owing) == [laboratory.fleet.key("r0.s0")]


def test_who_does_not_answer_is_asked_once_where_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = dict.fromkeys(range(1, 6), _EVERY)
    laboratory, asked = _laboratory(windows, monkeypatch), Counter[tuple[int, int]]()
    sit(laboratory, "r0.s0", unhelpful.Asked, asked=asked, fails=True)
    played = laboratory.play(1)
    assert asked.total() == 1
    assert all(played.audits[index].clean == _EVERY for index in range(1, 6))
