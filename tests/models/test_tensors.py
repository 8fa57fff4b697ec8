import pytest
import torch
from torch import nn

from tdml.errors import SettingError
from tdml.models.tensors import bring_into_form


def holding(**buffers):
    model = nn.Sequential(nn.Linear(2, 2))
    for name, value in buffers.items():
        model[0].register_buffer(name, value)
    return model


def share_memory():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight.data = model[0].weight.data
    return model


def with_a_hook(kind):
    model = nn.Sequential(nn.Linear(2, 2))
    getattr(model[0].weight, kind)(lambda given: None)
    return model


class Remembers(nn.Linear):
    def get_extra_state(self):
        return {"version": 3}

    def set_extra_state(self, state):
        pass


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            nn.Sequential(Remembers(2, 2)),
            "model: 0 has get_extra_state(), and nodes exchange tensors alone",
        ),
        (
            holding(table=torch.tensor([1, 2**24 + 1])),
            "model: 0.table holds whole numbers above 2^24",
        ),
        (
            holding(table=torch.tensor([-(2**24) - 1], dtype=torch.int32)),
            "0.table holds whole numbers above 2^24",
        ),
        (holding(table=torch.tensor(2**62)), "0.table holds whole numbers above 2^24"),
        (
            nn.Linear(2, 2).double(),
            "model: weight is float64, and nodes exchange float32: make it float32",
        ),
        (
            nn.Linear(2, 2).bfloat16(),
            "model: weight is bfloat16, and nodes exchange float32: make it float32",
        ),
        (holding(rates=torch.ones(1, dtype=torch.float64)), "model: 0.rates is float64"),
        (holding(graph=torch.eye(2).to_sparse()), "model: 0.graph is sparse"),
        (
            nn.Sequential(nn.Linear(2, 2), nn.SyncBatchNorm(2)),
            "model: 1 is a SyncBatchNorm, which computes with all other processes",
        ),
        (with_a_hook("register_hook"), "model: 0.weight has a hook on its gradient"),
        (
            with_a_hook("register_post_accumulate_grad_hook"),
            "model: 0.weight has a hook on its gradient",
        ),
        (
            share_memory(),
            "model: 0.weight and 1.weight share their memory, but are two parameters: tie them by",
        ),
    ],
)
def test_what_nodes_could_not_exchange_exactly_is_refused(model, message):
    with pytest.raises(SettingError) as caught:
        bring_into_form(model)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_frozen_may_be_narrow():
    model = nn.Linear(2, 2).bfloat16().requires_grad_(False)
    bring_into_form(model)
    assert model.weight.dtype is torch.bfloat16


def test_what_float32_holds_exactly_is_kept():
    held = {
        "edges": torch.tensor([2**24, -(2**24)]),
        "mask": torch.tensor([True, False]),
        "small": torch.tensor([255], dtype=torch.uint8),
        "empty": torch.empty(0, dtype=torch.int64),
        "narrow": torch.ones(2, dtype=torch.bfloat16),
    }
    model = holding(**held)
    bring_into_form(model)
    for name, value in held.items():
        assert getattr(model[0], name) is value


def test_one_value_that_is_repeated_gets_memory_for_each():
    """Buffers are written, and what several places share cannot be."""
    model = holding(ones=torch.ones(1).expand(3, 2))
    kept = model[0].ones
    bring_into_form(model)
    model[0].ones.copy_(torch.arange(6.0).view(3, 2))
    assert model[0].ones is kept
    assert kept.tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize(
    "layer", [nn.Embedding(4, 2, sparse=True), nn.EmbeddingBag(4, 2, sparse=True, mode="sum")]
)
def test_embeddings_have_dense_gradients(layer):
    bring_into_form(layer)
    layer(torch.tensor([[1, 2]])).sum().backward()
    assert layer.weight.grad.layout is torch.strided
    assert layer.weight.grad.tolist() == [[0, 0], [1, 1], [1, 1], [0, 0]]


@pytest.mark.parametrize("frozen", [True, False])
def test_a_buffer_may_share_the_memory_of_what_stays_alone(frozen):
    """On nodes it would not move with the parameter."""
    layer = nn.Linear(2, 2).requires_grad_(not frozen)
    layer.register_buffer("shadow", layer.weight.detach())
    if frozen:
        bring_into_form(nn.Sequential(layer))
        return
    with pytest.raises(SettingError, match=r"the buffer 0.shadow shares .* 0.weight, .* clone"):
        bring_into_form(nn.Sequential(layer))
