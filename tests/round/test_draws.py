"""From one seed machines of another kind, such as GPUs, draw other numbers than the coordinator's
processor: where a model draws, nobody can tell by recomputation whether such a step was taken."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import nn

from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tests.round.seats import banned, sit
from tests.slow import slow_but

_JOB = [
    "topology.replicas=3", "topology.stages=2", "sync.local_steps=6", "trust.budget=1", "rounds=3",
]  # fmt: skip
_GPT = [
    "task=language", "data=text", "data.context=16", "model=gpt", "model.layers=2",
    "model.width=16", "model.heads=2", "train=adamw", "train.batch_size=8",
]  # fmt: skip


class _Otherwise(Node):
    """Draws as another machine does."""

    def _take_step(self, given, log, step, keeps=False):
        yield from super()._take_step(replace(given, seed=given.seed + 77), log, step, keeps)


class _Idle(_Otherwise):
    """Hands in nothing."""

    def update_to_commit(self, update, taken):
        return super().update_to_commit(update, taken) * 0


class _Skips(nn.Module):
    """Leaves a layer out now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training and torch.rand(()) < 0.1:
            return inputs + 0
        return inputs + self.layer(inputs).relu()


def skipping(num_classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(192, 16), _Skips(), _Skips(), nn.Linear(16, num_classes)
    )


def _on(kind: str, replicas: set[int], *overrides: str, job: Sequence[str] = _GPT) -> Laboratory:
    laboratory = Laboratory([*_JOB, *job, *overrides])
    for replica in replicas:
        for stage in range(2):
            sit(laboratory, f"r{replica}.s{stage}", _Otherwise)
    muster = laboratory.fleet.muster

    def mustered():
        replicas_there = muster()
        for replica in replicas_there:
            replica.kind = kind if replica.index in replicas else replica.kind
        return replicas_there

    laboratory.fleet.muster = mustered
    return laboratory


_ANOTHER_MAKERS = "torch, another maker's processor, 8 threads"


@pytest.mark.parametrize(
    ("replicas", "kind"),
    slow_but([({2}, _ANOTHER_MAKERS)], [({0, 1, 2}, "a GPU"), ({2}, _ANOTHER_MAKERS)]),
    ids=["all", "one of three"],
)
def test_the_honest_owe_nothing_where_a_model_draws(
    replicas: set[int], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that they do is looked at, and some of it stands out."""
    monkeypatch.setattr("tdml.round.auditor.LOOK", 1.0)
    laboratory = _on(kind, replicas, "model.dropout=0.1")
    for number in range(1, 4):
        played = laboratory.play(number)
        assert banned(played) == []
        assert laboratory.engine.judge.debts.owing == {}
        reasons = [made.reason for made in played.judgements.values() if not made.accepted]
        assert all("widths off its peers'" in reason for reason in reasons), reasons


def test_nor_where_it_draws_what_matters_seldom() -> None:
    """What the coordinator has drawn there may have changed nothing, and no other seed either."""
    job = [f"model._target_={__name__}.skipping", "data.size=8", "rounds=8"]
    laboratory = _on("a GPU", {2}, job=job)
    for number in range(1, 9):
        assert banned(laboratory.play(number)) == []
        assert laboratory.engine.judge.debts.owing == {}


def test_where_nothing_is_drawn_a_lie_on_a_gpu_is_proven() -> None:
    laboratory = _on("a GPU", {2})
    sit(laboratory, "r2.s1", _Idle)
    found = [name for number in range(1, 4) for name in banned(laboratory.play(number))]
    assert found == ["r2.s1"]


def test_what_others_have_repeated_stays_found_right_where_a_look_can_tell_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tdml.round.auditor.LOOK", 1.0)
    judgements = _on("a GPU", {0, 1, 2}, "model.dropout=0.1").play(1).judgements
    assert all(made.verified for made in judgements.values())


def test_but_not_where_it_may_be_a_lie_as_small_as_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tdml.round.auditor.LOOK", 1.0)
    laboratory = _on("a GPU", {0, 1, 2})
    kinds = laboratory.engine.judge.auditor.settler.kinds
    monkeypatch.setattr(kinds, "is_right", lambda *_: None)
    audits = laboratory.play(1).audits
    assert all(audited.unknown and not audited.clean for audited in audits.values())


def test_nor_what_two_on_a_kind_of_their_own_have() -> None:
    """They may have made it up, and would be paid for what neither has done."""
    played = _on("a GPU", {3, 4}, "model.dropout=0.1", "topology.replicas=5").play(1)
    for index in (3, 4):
        assert played.audits[index].unknown
        assert not played.audits[index].clean
        assert played.judgements[index].repeated < played.judgements[index].samples


def test_who_was_looked_at_in_every_window_gives_others_their_turn() -> None:
    """Though nobody can tell of some: or it would be watched, and the most suspicious, for ever."""
    laboratory = _on("a GPU", {2}, "model.dropout=0.1")
    judge = laboratory.engine.judge
    judge.debts.watched.add(laboratory.fleet.key("r2.s0"))
    assert laboratory.play(1).audits[2].unknown
    assert not judge.debts.watched
    assert set(judge.standing.suspicion.by_node.values()) == {0.0}


class _AnswersNothing(_Otherwise):
    """Says nothing of what it is to repeat for others, every time that it is asked."""

    def repeating(self, order):
        self._own = order.own
        yield from super().repeating(order)

    def repeated(self):
        told = super().repeated()
        return told if self._own else replace(told, log=told.log[:0])


def test_liars_who_are_asked_again_and_again_do_not_keep_a_round_from_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They alone could repeat a window of which no look can tell."""
    laboratory = _on("a GPU", {0, 1, 2})
    for name in ("r1.s0", "r2.s0"):
        sit(laboratory, name, _AnswersNothing)
    kinds, audits = laboratory.engine.judge.auditor.settler.kinds, 0
    monkeypatch.setattr(kinds, "is_right", lambda *_: None)
    audit = laboratory.engine.judge.auditor.audit

    def counted(*given: object) -> None:
        nonlocal audits
        audits += 1
        assert audits <= 2
        audit(*given)

    monkeypatch.setattr(laboratory.engine.judge.auditor, "audit", counted)
    assert banned(laboratory.play(1)) == ["r1.s0", "r2.s0"]
    assert audits == 2
