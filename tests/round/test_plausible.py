"""What is reported from another kind of machine than the coordinator's cannot be proven false, but
it is heard only if it may be true."""

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from scipy.stats import norm
from torch import nn
from torch.nn import functional as F

from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tdml.protocol.orders import Evaluation, ReplicaLost
from tdml.round.plausible import is_plausible
from tdml.trust.judgement import LOST
from tdml.trust.numbers import LEAST_LOSS
from tdml.trust.work import work_test
from tests.round.seats import sit

_SMALL = [
    "data.size=8", "topology.stages=1", "topology.replicas=4", "sync.local_steps=40",
    "trust.budget=0.9", "rounds=4",
]  # fmt: skip
_JOB = ["model=mlp", "model.features=192", "model.hidden=16", *_SMALL]


class _Rounds(Node):
    """On another kind of machine, which rounds otherwise. It does not say so of its steps, which
    nobody need dispute here."""

    asked = 0

    def losses_to_report(self, losses, order):
        self.asked += order.candidate is not None
        draw = torch.Generator().manual_seed(order.candidate or 0)
        return losses * (1 + 2e-7 * torch.randn(losses.shape, generator=draw))


class _Damns(_Rounds):
    """Says of a single sample what moves the whole test: that others' updates spoil it."""

    def losses_to_report(self, losses, order):
        told = super().losses_to_report(losses, order)
        told[-1] *= 1 if order.candidate is None else 1e30
        return told


class _Idles(_Rounds):
    """Hands in nearly nothing, of which others' reports are rounding."""

    def update_to_commit(self, update, round_number):
        return update * 1e-9


def _elsewhere(kind: type, job: Sequence[str] = _JOB) -> Laboratory:
    """All nodes are on another kind of machine than the coordinator's, and r1.s0 is a `kind`."""
    laboratory = Laboratory(job)
    laboratory.engine.judge.auditor.settler.referee.kind = "the coordinator's"
    for name in laboratory.fleet.nodes:
        sit(laboratory, name, kind if name == "r1.s0" else _Rounds)
    return laboratory


def _keys(laboratory: Laboratory, *names: str) -> set[str]:
    return {laboratory.fleet.key(name) for name in names}


@pytest.mark.parametrize(("kind", "rounds"), [(_Rounds, 4), (_Idles, 1)])
def test_rounding_keeps_nobody_from_being_heard(kind: type, rounds: int) -> None:
    laboratory = _elsewhere(kind)
    for number in range(1, rounds + 1):
        laboratory.engine.judge.standing.purse.steps = 0.0  # what was overdrawn puts tests off
        played = laboratory.play(number)
        untested = [made for made in played.judgements.values() if made.p is None]
        assert len(untested) == len(played.bans), "who is proven to lie otherwise is not heard"
    assert not laboratory.engine.judge.standing.unheard


class _Late(Node):
    def commit(self, round_number: int) -> Any:
        raise ReplicaLost(self.slot.replica, f"{self.name}: late")


def test_a_replica_that_has_lost_the_round_reports_nothing() -> None:
    """Its nodes were looked up all the same, of whom there was no record, and the coordinator failed."""
    laboratory = Laboratory(_JOB)
    sit(laboratory, "r1.s0", _Late)
    judgements = laboratory.play(1).judgements
    assert judgements[1].status == LOST
    assert all(judgements[index].p is not None for index in (0, 2, 3))


def test_who_reports_what_the_coordinator_does_not_find_is_not_heard_again() -> None:
    """Nor is it banned, for nothing is proven; and whom it has damned is not tested instead."""
    laboratory = _elsewhere(_Damns)
    played = laboratory.play(1)
    assert not played.bans
    assert [note.startswith("replica 1 reports") for note in played.notes] == [True]
    assert laboratory.engine.judge.standing.unheard == _keys(laboratory, "r1.s0")
    assert sum(made.p is None for made in played.judgements.values()) == 1
    for number in range(2, 5):
        laboratory.play(number)
    assert laboratory.fleet.nodes["r1.s0"].asked == 1


def test_it_is_remembered_when_the_coordinator_is_started_again() -> None:
    laboratory = _elsewhere(_Damns)
    laboratory.play(1)
    other = _elsewhere(_Damns)
    other.engine.judge.restore(laboratory.engine.judge.state())
    assert other.engine.judge.standing.unheard == _keys(laboratory, "r1.s0")


class _Sure:
    """A coordinator that finds these losses, and with others' rounding some that are as far."""

    batch_size, train, drew = 4, Laboratory(_JOB).job.config.train, False

    def __init__(self, losses: torch.Tensor, spread: float) -> None:
        self.losses, self.spread = losses, spread

    def evaluate(self, *place: Any) -> Evaluation:
        return _found(self.losses * (1 + self.spread * torch.tensor([1.0, -1.0, 1.0, -1.0])))


def _found(losses: torch.Tensor) -> Evaluation:
    return Evaluation(losses, torch.empty(0, 0), torch.empty(0))


@pytest.mark.parametrize(
    ("told", "differ_by", "spread", "plausible"),
    [
        ([1.0, 2.0, 3.0, 4.0], 0.0, 0.0, True),
        ([1.0, 2.0, 3.0, 4.01], 0.0, 0.0, False),
        ([1.0, 2.0, 3.0, 4.01], 0.1, 0.0, True),
        ([1.0, 2.0, 3.0, 4.01], 1e-3, 0.0, False),
        ([1.0, 2.0, 3.0, 4.01], 0.0, 1e-3, True),
        ([1.0, 2.0, 3.0, 40.0], 0.0, 1e-3, False),
        ([1.0, 2.0, 3.0, float("nan")], 1.0, 1e-3, False),
        ([1.0, 2.0, 3.0], 1.0, 1e-3, False),
    ],
)  # fmt: skip
def test_losses_may_differ_by_what_does_not_matter_or_by_rounding(
    told: list, differ_by: float, spread: float, plausible: bool
) -> None:
    true = torch.tensor([1.0, 2.0, 3.0, 4.0])
    before = torch.tensor([[5.0, 5.0, 5.0, 5.0]])
    doubt: Any = _doubt_of([*before[0].tolist(), *told])
    reported = differ_by * torch.tensor([9.0, 9.0, 9.0, 9.0, 1.0, -1.0, 1.0, -1.0])[: 4 + len(told)]
    referee: Any = _Sure(true, spread)
    assert is_plausible(referee, doubt, _found(true), reported.double()) is plausible


@pytest.mark.parametrize(("share", "plausible"), [(0.95, True), (1.05, False)])
@pytest.mark.parametrize("count", [64, 2048])
def test_what_is_let_be_moves_the_work_test_by_less_than_a_standard_deviation(
    count: int, share: float, plausible: bool
) -> None:
    """The lie that moves it most: all of the own samples up, all others down."""
    draw = torch.Generator().manual_seed(count)
    own = torch.arange(count) < count // 2
    lie = torch.where(own, 1.0, -1.0).double() / count**0.5
    honest = 0.1 * torch.randn(count, generator=draw, dtype=torch.float64)
    told = honest + lie * share * (honest - honest.mean()).norm() / count**0.5

    referee: Any = _Sure(_after(honest), 0.0)
    referee.batch_size = count
    referee.evaluate = lambda *_: _found(_after(honest))
    doubt: Any = _doubt_of(_after(told).tolist())
    doubt.batch = 0
    assert is_plausible(referee, doubt, _found(_after(honest)), told) is plausible

    one, other = (
        norm.isf(work_test(gain, own, torch.zeros(count, dtype=torch.int64)).p)
        for gain in (honest, told)
    )
    assert other - one == pytest.approx(share, abs=0.06)


def _after(gain: torch.Tensor) -> torch.Tensor:
    """Losses, which were 2 without an update, by their gains."""
    before = torch.tensor(2 / LEAST_LOSS, dtype=torch.float64).asinh()
    return (LEAST_LOSS * (before - gain).sinh()).float()


def _doubt_of(losses: list) -> SimpleNamespace:
    evaluated = SimpleNamespace(order=None, parts=[_found(torch.tensor(losses))])
    return SimpleNamespace(evaluated=evaluated, weights=[], update=[], batch=1)


def test_a_sample_without_a_loss_is_one_for_all() -> None:
    true = torch.tensor([1.0, 2.0, 3.0, float("inf")])
    doubt: Any = _doubt_of([5.0] * 4 + true.tolist())
    referee: Any = _Sure(true, 0.0)
    assert is_plausible(referee, doubt, _found(true), torch.zeros(8, dtype=torch.float64))


@pytest.mark.parametrize(("told", "plausible"), [(3.0, True), (9.0, False)])
def test_a_loss_that_is_no_number_hides_no_other(told: float, plausible: bool) -> None:
    true = torch.tensor([1.0, 2.0, 3.0, math.nan])
    doubt: Any = _doubt_of([5.0] * 4 + [1.0, 2.0, told, math.nan])
    referee: Any = _Sure(true, 0.0)
    reported = torch.zeros(8, dtype=torch.float64)
    assert is_plausible(referee, doubt, _found(true), reported) is plausible


def test_what_the_coordinator_cannot_read_makes_nobody_unheard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unread(*_: object) -> None:
        raise OSError("stale file handle")

    laboratory = _elsewhere(_Rounds)
    monkeypatch.setattr("tdml.round.evaluator.pieces.one_batch", unread)
    judgements = laboratory.play(1).judgements
    assert all(made.p is not None for made in judgements.values())
    assert not laboratory.engine.judge.standing.unheard


def test_where_the_model_raises_no_report_is_heard_and_nobody_is_to_blame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def evaluate(*_: object) -> None:
        raise RuntimeError("can't allocate memory")

    laboratory = _elsewhere(_Rounds)
    monkeypatch.setattr(laboratory.engine.judge.auditor.settler.evaluator, "evaluate", evaluate)
    played = laboratory.play(1)
    assert None in {made.p for made in played.judgements.values()}
    assert not laboratory.engine.judge.standing.unheard
    assert not [note for note in played.notes if "not asked again" in note]


class _Insists(nn.Module):
    """On its constants."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("thirds", torch.ones(16) / 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if not torch.equal(self.thirds, torch.ones(16) / 3):
            raise ValueError("no such constants")
        return inputs


class _Drops(nn.Module):
    """In evaluation, too, as whoever does not say `training=self.training`."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return F.dropout(inputs, 0.2)


def with_insisting(num_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 16), _Insists(), nn.Linear(16, num_classes))


def with_dropping(num_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 16), _Drops(), nn.Linear(16, num_classes))


@pytest.mark.parametrize(("model", "kind"), [("insisting", _Idles), ("dropping", _Rounds)])
def test_where_nobody_can_tell_nobody_is_to_blame(model: str, kind: type) -> None:
    """The one refuses whatever is rounded, and the other draws other numbers elsewhere."""
    laboratory = _elsewhere(kind, [f"model._target_={__name__}.with_{model}", *_SMALL])
    for name in laboratory.fleet.nodes:
        sit(laboratory, name, kind)
    laboratory.fleet.muster()
    for stage in laboratory.fleet._stages:
        stage._seed += 1
    played = laboratory.play(1)
    assert not laboratory.engine.judge.standing.unheard
    assert None in {made.p for made in played.judgements.values()}
