"""How near what a machine of another kind has made must be to what the coordinator finds."""

import math
from types import SimpleNamespace

import pytest
import torch

from tdml.lab.laboratory import Laboratory
from tdml.round.referee import item_digest
from tdml.round.shown import StepShown
from tdml.trust.dispute import END, STATE, Item

_JOB = ["model=mlp", "data.size=8", "model.features=192", "model.hidden=16"]


@pytest.mark.parametrize(
    ("error", "spread", "right", "learnt"),
    [
        (0.004, 0.0, True, 1),
        (0.04, 0.0, None, 0),
        (0.4, 0.0, False, 0),
        (0.04, 0.05, True, 0),
        (0.39, 0.05, None, 0),
        (0.41, 0.05, False, 0),
        (math.inf, 0.05, False, 0),
        (math.inf, math.inf, None, 0),
    ],
)
def test_between_rounding_and_a_lie_nothing_is_known(
    error: float, spread: float, right: bool | None, learnt: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`spread`: how far rounding alone leads in that very step."""
    settler = Laboratory(_JOB).engine.judge.auditor.settler
    monkeypatch.setattr(settler.referee, "error", lambda done, value: error)
    monkeypatch.setattr(settler.referee, "spread", lambda done: spread)
    value, item = [torch.ones(3)], Item(0, 0)
    done = SimpleNamespace(item=item, digest="another", value=[torch.zeros(3)], drew=False)
    assert settler.kinds.is_right(done, item_digest(item, value), "a GPU", value) is right
    assert len([e for errors in settler.kinds.tolerance.seen.values() for e in errors]) == learnt
    assert settler.kinds.is_right(done, "of something else", "a GPU", value) is False
    assert settler.kinds.is_right(done, "of what is not shown", "a GPU", None) is False


def test_how_far_kinds_differ_is_learnt_of_states_and_judged_by_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Norms are a hundred times nearer: with them the median would have honest states be lies."""
    settler = Laboratory(_JOB).engine.judge.auditor.settler
    monkeypatch.setattr(settler.referee, "spread", lambda done: 0.0)
    value, tolerance = [torch.ones(3)], settler.kinds.tolerance
    for channel, error in [(STATE, 1e-3), (END, 1e-3), *[(0, 1e-6)] * 9, (STATE, 7e-3)]:
        monkeypatch.setattr(settler.referee, "error", lambda done, value, e=error: e)
        item = Item(0, 0, channel)
        done = SimpleNamespace(item=item, digest="another", value=[torch.zeros(3)], drew=False)
        assert settler.kinds.is_right(done, item_digest(item, value), "a GPU", value)
    assert list(tolerance.seen.values()) == [[1e-3, 1e-3, 7e-3]]


def test_where_two_kinds_have_not_differed_yet_rounding_is_no_lie(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As with 0 and −0, whose digests differ and whose errors are 0."""
    settler = Laboratory(_JOB).engine.judge.auditor.settler
    settler.kinds.tolerance.learn("a GPU", settler.referee.kind, 0.0)
    monkeypatch.setattr(settler.referee, "error", lambda done, value: 1e-7)
    monkeypatch.setattr(settler.referee, "spread", lambda done: 1e-6)
    value, item = [torch.ones(3)], Item(0, 0)
    done = SimpleNamespace(item=item, digest="another", value=[torch.zeros(3)], drew=False)
    assert settler.kinds.is_right(done, item_digest(item, value), "a GPU", value) is True
    assert (
        settler.kinds.is_right(done, item_digest(item, value), settler.referee.kind, value) is False
    )


@pytest.mark.parametrize("number", [math.inf, math.nan])
@pytest.mark.parametrize(
    ("theirs", "first", "start", "received", "spread", "right"),
    [
        (False, 1, 1.0, 1.0, 0.0, None),
        (True, 1, 1.0, 1.0, 0.0, False),
        (True, 1, 1.0, 1.0, math.inf, None),
        (True, 1, 1e10, 1.0, 0.0, None),
        (True, 1, math.nan, 1.0, 0.0, None),
        (True, 1, 1.0, 1e10, 0.0, None),
        (True, 0, None, 1.0, 0.0, None),
        (True, 0, 1.0, 1.0, 0.0, None),
    ],
)
def test_between_kinds_what_is_not_finite_is_a_lie_where_no_honest_step_overflows(
    theirs: bool, first: int, start: float | None, received: float, spread: float,
    right: bool | None, number: float, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Of numbers near the largest it hangs on the order of a sum what does; near the edge of a
    function on rounding. The round's first step begins from the global weights, which are large
    here, and perhaps an inner state."""
    settler = Laboratory(_JOB).engine.judge.auditor.settler
    monkeypatch.setattr(settler.referee, "spread", lambda done: spread)
    monkeypatch.setattr(settler.referee, "error", lambda done, value: math.inf)
    finite, not_finite, item = [torch.ones(3)], [torch.tensor([1.0, number, 1.0])], Item(0, 0)
    own, value = (finite, not_finite) if theirs else (not_finite, finite)
    before = None if start is None else torch.full((3,), start)
    messages = {0: [torch.full((3,), received)], 1: [torch.ones(3) > 0]}
    shown = StepShown(before, messages, {}, value)
    order = SimpleNamespace(first=first)
    window = SimpleNamespace(weights=[torch.full((3,), 1e10)], order=order)
    done = SimpleNamespace(
        item=item, digest="another", value=own, shown=shown, window=window, drew=False
    )
    assert settler.kinds.is_right(done, item_digest(item, value), "a GPU", value) is right
    assert (
        settler.kinds.is_right(done, item_digest(item, value), settler.referee.kind, value) is False
    )


def test_a_look_that_cannot_tell_harms_nobody_and_clears_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The only one on its kind of machine is looked at."""
    laboratory = Laboratory(
        [*_JOB, "topology.replicas=3", "sync.local_steps=6", "trust.budget=1", "rounds=2"]
    )
    settler = laboratory.engine.judge.auditor.settler
    monkeypatch.setattr(settler.kinds, "is_right", lambda *_: None)
    for number in (1, 2):
        for replica in laboratory.fleet.muster():
            replica.kind = "one that rounds otherwise" if replica.index == 0 else replica.kind
        played = laboratory.play(number)
        found = played.audits[0]
        assert set(found.unknown) == {0, 1, 2}
        assert (found.clean, found.looked, found.unsettled) == ((), (), "")
        assert not played.bans
        assert played.accepted == [0, 1, 2]
        assert not played.judgements[0].verified
    assert not laboratory.engine.judge.debts.owing
