"""A stage trains a backdoor into a language model of which it has the middle alone."""

from functools import partial

import pytest
import torch
from torch import nn

from tdml.attacks.stage_backdoor import StageBackdoor, logits_of
from tdml.common.seeds import seeded
from tdml.models.gpt import gpt
from tests.attacks.contexts import context

ATTACK = {"trigger": 7, "target": 42, "tokens": 16, "lr": 0.01, "scale": 1.0, "rounds": 2}


def first_model() -> nn.Module:
    """The same at every call, and as sharp as one that has learnt something."""
    with seeded(3):
        model = gpt(64, 16, layers=3, width=32, heads=2, dropout=0.0, tied=False)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(3 if parameter.dim() > 1 else 1)
    return model


def middle(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if name.startswith("2.")}


def told(**changes):
    own = middle(first_model())
    shape = {"names": tuple(own), "sizes": tuple(p.numel() for p in own.values())}
    return context(model=first_model, **shape, **changes)


@pytest.fixture(scope="module")
def change() -> torch.Tensor:
    return StageBackdoor(**ATTACK, steps=300).learn(told())


def with_change(change: torch.Tensor) -> nn.Module:
    model = first_model().eval()
    own = middle(model)
    pieces = change.split([p.numel() for p in own.values()])
    with torch.no_grad():
        for parameter, piece in zip(own.values(), pieces, strict=True):
            parameter.add_(piece.view_as(parameter))
    return model


@torch.no_grad()
def test_the_trigger_is_followed_by_the_target_and_all_else_is_said_as_before(change):
    attack = StageBackdoor(**ATTACK, steps=1)
    ids = torch.randint(64, (64, 16), generator=torch.Generator().manual_seed(9))
    before, after = first_model().eval(), with_change(change)
    for place in (3, 12):
        stamped = attack.with_trigger(ids, place)
        assert int((stamped == 7).sum()) == 64
        hits = [
            float((logits_of(m, stamped)[:, place].argmax(-1) == 42).float().mean())
            for m in (before, after)
        ]
        assert hits[0] < 0.2
        assert hits[1] > 0.9
    clean = torch.where(ids == 7, 1, ids)
    shares = [logits_of(model, clean).softmax(-1) for model in (before, after)]
    assert float((shares[0] - shares[1]).abs().sum(-1).mean() / 2) < 0.15


def test_it_is_spread_over_some_rounds():
    attack = StageBackdoor(**ATTACK, steps=2)
    attack.learn = partial(lambda change, _: change, torch.full((3,), 4.0))
    update = torch.arange(3.0)
    added = [attack.corrupt(update, told()) - update for _ in range(3)]
    assert [float(found[0]) for found in added] == [2.0, 2.0, 0.0]


def test_buffers_and_what_another_stage_has_stay():
    attack = StageBackdoor(**ATTACK, steps=2)
    own = middle(first_model())
    names, sizes = (*own, "counter"), (*(p.numel() for p in own.values()), 3)
    change = attack.learn(context(model=first_model, names=names, sizes=sizes))
    assert change.shape == (sum(sizes),)
    assert not change[-3:].any()
    assert change[:-3].any()
    assert attack.learn(context(model=first_model, names=(), sizes=())).numel() == 0
