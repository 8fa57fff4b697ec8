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
    assert laboratory.fleet.nodes["r0.s0"].disputed == 1
    assert played.judgements[0].weight == 0
    assert list(laboratory.engine.judge.debts.owing) == [laboratory.fleet.key("r0.s0")]


def test_and_against_one_that_can_do_nothing_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it has failed over the work of others, and is not formed again."""
    windows = dict.fromkeys(range(6), _EVERY)
    laboratory, asked = _laboratory(windows, monkeypatch), Counter[tuple[int, int]]()
    sit(laboratory, "r0.s0", unhelpful.FailsInDisputes, at_all=True)
    for index in range(1, 6):
        sit(laboratory, f"r{index}.s0", unhelpful.Asked, asked=asked)
    form = laboratory.fleet.form
    monkeypatch.setattr(
        laboratory.fleet,
        "form",
        lambda indices: form(i for i in indices if i or not laboratory.fleet._mustered),
    )
    laboratory.play(1)
    assert [asked[0, first] for first in (0, 2, 4)] == [2, 2, 2]
    assert list(laboratory.engine.judge.debts.owing) == [laboratory.fleet.key("r0.s0")]


def test_who_does_not_answer_is_asked_once_where_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one where all windows are begun at the same time, the other after it."""
    laboratory = _laboratory(dict.fromkeys(range(1, 5), (0,)), monkeypatch)
    asked = Counter[tuple[int, int]]()
    for name in ("r0.s0", "r5.s0"):
        sit(laboratory, name, unhelpful.Asked, asked=asked, fails=True)
    order = [5, 0, 1, 2, 3, 4]
    monkeypatch.setattr(
        "tdml.round.auditor.same_kind",
        lambda fleet, _, owner, __: fleet.mustered(i for i in order if i != owner.index),
    )
    played = laboratory.play(1)
    assert asked.total() == 2
    assert all(played.audits[index].clean == (0,) for index in range(1, 5))
