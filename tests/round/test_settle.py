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
