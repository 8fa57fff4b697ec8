"""How near what a machine of another kind has made must be to what the coordinator finds."""

from types import SimpleNamespace

import pytest
import torch

from tdml.lab.laboratory import Laboratory
from tdml.round.recompute import item_digest
from tdml.trust.dispute import Item

_JOB = ["model=mlp", "data.size=8", "model.features=192", "model.hidden=16"]


@pytest.mark.parametrize(
    ("error", "right", "learnt"), [(0.004, True, 1), (0.04, None, 0), (0.4, False, 0)]
)
def test_between_rounding_and_a_lie_nothing_is_known(
    error: float, right: bool | None, learnt: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settler = Laboratory(_JOB).engine.judge.auditor.settler
    monkeypatch.setattr(settler.referee, "error", lambda done, made: error)
    made, item = [torch.ones(3)], Item(0, 0)
    done = SimpleNamespace(item=item, digest="another")
    assert settler._is_right(done, item_digest(item, made), "a GPU", made) is right
    assert len([e for errors in settler.tolerance.seen.values() for e in errors]) == learnt
    assert settler._is_right(done, "of something else", "a GPU", made) is False


def test_a_look_that_cannot_tell_harms_nobody_and_clears_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The only one on its kind of machine is looked at."""
    laboratory = Laboratory(
        [*_JOB, "topology.replicas=3", "sync.local_steps=6", "trust.budget=1", "rounds=2"]
    )
    settler = laboratory.engine.judge.auditor.settler
    monkeypatch.setattr(settler, "_is_right", lambda *_: None)
    for number in (1, 2):
        for replica in laboratory.fleet.muster():
            replica.kind = "one that rounds otherwise" if replica.index == 0 else replica.kind
        played = laboratory.play(number)
        found = played.audits[0]
        assert set(found.unknown) == {0, 1, 2}
        assert (found.clean, found.looked, found.unsettled) == ((), (), "")
        assert not played.bans
        assert played.accepted == [0, 1, 2]
        assert not played.judgements[0].proven
    assert not laboratory.engine.judge.debts.owing
