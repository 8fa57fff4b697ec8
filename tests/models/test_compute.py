"""Parts that hand on what they compute, against the model in one piece: the same bits in every
precision and layout."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tdml import config as settings
from tdml.models.compute import Runner
from tdml.tasks import Classification
from tdml.tasks.objective import mean_loss

TRAIN = settings.load([]).train
CPU = torch.device("cpu")


def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.LayerNorm(32),
        nn.Linear(32, 5),
    )


def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 3, 9, 9, generator=generator), torch.randint(5, (6,), generator=generator)


def plain(train):
    """Loss and gradients of the model in one piece, in torch's own words."""
    whole, (inputs, labels) = model(), batch()
    if train.channels_last:
        whole, inputs = (
            whole.to(memory_format=torch.channels_last),
            inputs.to(memory_format=torch.channels_last),
        )
    with torch.autocast("cpu", torch.bfloat16, enabled=train.precision == "bf16"):
        logits = whole(inputs)
    loss = F.cross_entropy(logits.float(), labels, label_smoothing=train.label_smoothing)
    loss.backward()
    return loss, [p.grad for p in whole.parameters()], logits.dtype


# before 7 the gradients of the whole lie otherwise in memory
@pytest.mark.parametrize("cut", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_parts_equal_the_whole_bit_for_bit(precision, channels_last, cut):
    train = replace(TRAIN, precision=precision, channels_last=channels_last, label_smoothing=0.1)
    whole, (inputs, labels) = model(), batch()
    first, second = (
        Runner(whole[:cut], train, True, CPU, CPU),
        Runner(whole[cut:], train, False, CPU, CPU),
    )
    sent = first(inputs)
    received = sent.detach().requires_grad_()
    logits = second(received)
    loss = mean_loss(Classification(train.label_smoothing), logits, labels)
    loss.backward()
    assert sent.is_contiguous()
    assert received.grad.is_contiguous()
    assert received.grad.dtype == sent.dtype
    sent.backward(received.grad)
    expected, gradients, dtype = plain(train)
    assert torch.equal(loss, expected)
    assert all(map(torch.equal, [p.grad for p in whole.parameters()], gradients))
    assert logits.dtype == dtype
    assert {p.dtype for p in whole.parameters()} == {g.dtype for g in gradients} == {torch.float32}


def test_what_lies_otherwise_in_memory_crosses_contiguously():
    class Turn(nn.Module):
        def forward(self, value):
            return value.transpose(1, 2)

    first = Runner(Turn(), TRAIN, True, CPU, CPU)
    value = torch.randn(2, 3, 4)
    assert first(value).is_contiguous()
    assert torch.equal(first(value), value.transpose(1, 2))


def test_weights_of_other_dimensions_stay_as_they_are():
    """Also in three dimensions of space, for which channels_last is another format."""
    layers = nn.Sequential(nn.Conv3d(1, 2, 3), nn.Conv1d(1, 2, 3), nn.Conv2d(4, 2, 3))
    before = copy.deepcopy(layers)
    Runner(layers, replace(TRAIN, channels_last=True), True, CPU, CPU)
    assert all(map(torch.equal, layers.parameters(), before.parameters()))
    assert layers[2].weight.is_contiguous(memory_format=torch.channels_last)
    assert layers[0].weight.is_contiguous()


@pytest.mark.parametrize("first", [True, False])
def test_gradients_come_back_to_a_part_of_which_nothing_is_trained_this_time(first: bool) -> None:
    runner = Runner(nn.Identity(), TRAIN, first, CPU, CPU)
    given = torch.randn(2, 3, requires_grad=not first)
    output = runner(given)
    output.backward(torch.ones(2, 3))
    assert torch.equal(output, given)
    assert first or torch.equal(given.grad, torch.ones(2, 3))
    with torch.no_grad():
        assert not runner(given).requires_grad
