"""Honest work that does not repeat itself, for a reason that nobody sees: nobody is banned. And who
is in league is, where a third can repeat the work."""

import pytest
import torch

from tdml.data.pieces import held_out
from tdml.lab.laboratory import Laboratory
from tdml.node import lockstep
from tdml.node.lockstep import take_alone
from tdml.node.node import Node
from tdml.protocol.orders import EvaluateOrder
from tdml.round.copies import Copies
from tdml.round.evaluator import Evaluator
from tests.round import hidden, liars
from tests.round.seats import sit

_JOB = [
    "data=digits", "data.size=8", "sync.local_steps=6", "topology.stages=1", "trust.budget=1",
    "trust.rollback=off", "rounds=3",
]  # fmt: skip
_MLP = ["model=mlp", "model.features=192"]
# Long rounds, in which updates are tested too, and reports of that looked at.
_TESTED = ["topology.replicas=4", "trust.budget=0.9", "sync.local_steps=40"]


def _play(model: str, calls: int, *more: str, rounds: int) -> list[dict[str, str]]:
    """Who is banned, by round. Nothing is seen of anybody's first `calls`."""
    hidden.CALLS.clear()
    hidden.hidden.update(who=hidden.COORDINATOR, calls=10**9)  # the rehearsal sees nothing either
    laboratory = Laboratory([*_JOB, f"model._target_={hidden.__name__}.{model}", *more])
    for name in laboratory.fleet.nodes:
        sit(laboratory, name, hidden.OfItsOwn)
    hidden.CALLS.clear()
    hidden.hidden["calls"] = calls
    return [laboratory.play(number).bans for number in range(1, rounds + 1)]


@pytest.mark.parametrize(
    ("replicas", "calls", "rounds"), [(1, 8, 1), (4, 12, 1), (4, 14, 1), (4, 30, 2)]
)
def test_what_shows_after_some_calls_gets_nobody_banned(
    replicas: int, calls: int, rounds: int
) -> None:
    """While some have made so many and others have not, work is repeated and found otherwise."""
    bans = _play("warms", calls, f"topology.replicas={replicas}", rounds=rounds)
    assert bans == [{}] * rounds


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_what_the_coordinator_alone_finds_gets_nobody_banned(
    replicas: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tdml.round.auditor.LOOK", 1.0)
    assert _play("apart", 0, f"topology.replicas={replicas}", rounds=1) == [{}]


@pytest.mark.parametrize(("model", "calls"), [("apart", 0), ("warms", 30)])
def test_reports_that_the_coordinator_does_not_find_get_nobody_banned(
    model: str, calls: int
) -> None:
    assert _play(model, calls, *_TESTED, rounds=1) == [{}]


def test_what_hangs_on_the_order_of_micro_batches_gets_nobody_banned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pipeline takes them in another order than the coordinator, which is the only judge here,
    and has found right all that came before."""

    def as_a_pipeline(stages, given, passing) -> float:
        take_alone(stages[0], given[0], {}, None, one_by_one=True)
        return 0.0

    monkeypatch.setattr(lockstep, "train_step", as_a_pipeline)
    hidden.hidden.update(who=hidden.COORDINATOR, calls=1)
    laboratory = Laboratory([
        *_JOB, f"model._target_={hidden.__name__}.halves", "topology.replicas=1",
        "topology.microbatches=4",
    ])  # fmt: skip
    assert laboratory.play(1).audits[0].looked
    hidden.hidden.update(calls=0)
    round_ = laboratory.play(2)
    assert "not all that was recomputed, and repeated, agrees" in round_.judgements[0].reason
    assert round_.bans == {}


@pytest.mark.parametrize("odd", [0, 1])
def test_what_hangs_on_the_copy_of_a_model_gets_nobody_banned(odd: int) -> None:
    """Nodes have other copies than the coordinator, which is the only judge here."""
    hidden.hidden.update(who=hidden.COORDINATOR, calls=1)
    laboratory = Laboratory([
        *_JOB, f"model._target_={hidden.__name__}.copied", "topology.replicas=1",
    ])  # fmt: skip
    [stage] = laboratory.fleet._stages
    [block] = [m for m in stage.runners[0].modules() if isinstance(m, hidden.Copied)]
    block.odd = odd
    hidden.Copied.copies = 1 - odd
    assert laboratory.play(1).audits[0].looked
    hidden.hidden.update(calls=0)
    round_ = laboratory.play(2)
    assert "not all that was recomputed, and repeated, agrees" in round_.judgements[0].reason
    assert round_.bans == {}


def test_where_code_was_seen_not_to_repeat_itself_nobody_is_convicted_any_more() -> None:
    """Not even of what comes out the same every time: it may be anybody's."""
    hidden.hidden.update(who=hidden.COORDINATOR, calls=1)
    laboratory = Laboratory([
        *_JOB, f"model._target_={hidden.__name__}.copied", "topology.replicas=1",
    ])  # fmt: skip
    assert laboratory.play(1).audits[0].looked
    hidden.hidden.update(calls=0)
    laboratory.play(2)
    hidden.hidden.update(calls=1)
    sit(laboratory, "r0.s0", liars.Liar, again=False)
    round_ = laboratory.play(3)
    assert "not all that was recomputed, and repeated, agrees" in round_.judgements[0].reason
    assert round_.bans == {}


@pytest.mark.parametrize("found", ["changing", "otherwise"])
def test_what_shows_in_the_step_before_the_disputed_one_gets_nobody_banned(
    found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On that one all agree; the coordinator does not repeat it, or finds something else."""
    laboratory = Laboratory([*_JOB, *_MLP, "topology.replicas=3"])
    sit(laboratory, "r1.s0", liars.Liar)
    settler = laboratory.engine.judge.auditor.settler
    reproduces, is_right = settler.referee.reproduces, settler.kinds.is_right
    disputed = liars.STEP % 2  # of its window
    if found == "changing":
        monkeypatch.setattr(
            settler.referee,
            "reproduces",
            lambda done, times: done.item.step == disputed and reproduces(done, times),
        )
    else:
        monkeypatch.setattr(
            settler.kinds,
            "is_right",
            lambda done, *said: done.item.step == disputed and is_right(done, *said),
        )
    round_ = laboratory.play(1)
    assert "not all that was recomputed, and repeated, agrees" in round_.judgements[1].reason
    assert round_.bans == {}


class _Wavers(liars.Liar):
    """Finds something else in work that it has once found, and shown, as the coordinator does."""

    has_shown = False

    def repeating(self, order):
        self.has_shown |= order.show >= 0
        lies = self.has_shown and order.each and not order.own
        self._lies = lambda step: lies and order.first + step == liars.STEP
        yield from Node.repeating(self, order)

    def training(self, order, steps):
        self._lies = lambda _: False
        yield from Node.training(self, order, steps)


def test_who_does_not_find_the_same_again_gets_nobody_banned() -> None:
    laboratory = Laboratory([*_JOB, *_MLP, "topology.replicas=2"])
    sit(laboratory, "r0.s0", _Wavers)
    sit(laboratory, "r1.s0", liars.Liar)
    round_ = laboratory.play(1)
    assert "not all that was recomputed, and repeated, agrees" in round_.judgements[1].reason
    assert round_.bans == {}


def test_an_evaluation_that_another_copy_finds_otherwise_is_not_insisted_on() -> None:
    hidden.hidden.update(who=hidden.COORDINATOR, calls=0)
    laboratory = Laboratory([
        *_JOB, f"model._target_={hidden.__name__}.copied", "topology.replicas=1",
        "trust.repeatable=warn",
    ])  # fmt: skip
    job, weights = laboratory.job, laboratory.engine.weights
    evaluator = Evaluator(job, Copies(job))
    order = EvaluateOrder(1, held_out(job.source, "test", torch.arange(32), 32), None)
    truth = evaluator.evaluate(order, weights, [], 0)
    again = (order, weights, [], 0, truth, 2)
    hidden.Copied.copies = 1
    found = [evaluator.reproduces(*again) for _ in range(2)]
    assert sorted(found) == [False, True]


def test_two_in_league_are_met_where_a_third_can_repeat_their_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tdml.round.auditor.LOOK", 1.0)
    laboratory = Laboratory([*_JOB, *_MLP, "topology.replicas=3"])
    for name in ("r1.s0", "r2.s0"):
        sit(laboratory, name, liars.InLeague)
    banned: set[str] = set()
    for number in range(1, 4):
        laboratory.fleet.muster()
        banned |= set(laboratory.play(number).bans)
    assert banned == {"r1.s0", "r2.s0"}
