"""What crosses the borders of a part, in the form that a process group can send and an audit can
compare."""

import pytest
import torch
from torch import nn

from tdml import config as settings
from tdml.models.compute import Runner
from tdml.node.messages import ACTIVATION, Channel, MessageRecorder, Passing, digest_of

CPU = torch.device("cpu")
TRAIN = settings.load([]).train


class Transpose(nn.Module):
    def forward(self, value):
        return value.transpose(1, 2)


class States(nn.LSTM):
    def forward(self, value):
        return super().forward(value)[0]


class Last(nn.Module):
    def forward(self, value):
        return value[:, -1]


PARTS = {
    "transpose": Transpose,
    "lstm": lambda: States(4, 5),
    "slice": Last,
    "channels last": lambda: nn.Conv1d(3, 2, 1),
    "one gradient for all": nn.Flatten,
    "in place": lambda: nn.ReLU(inplace=True),
}


@pytest.mark.parametrize("name", PARTS)
def test_values_and_gradients_are_contiguous_and_those_of_the_part_alone(name):
    torch.manual_seed(0)
    part = PARTS[name]()
    received = torch.randn(2, 3, 4, requires_grad=True)
    plain = received.detach().clone().requires_grad_()
    sent, expected = Runner(part, TRAIN, False, CPU, CPU)(received), part(1 * plain)
    assert sent.is_contiguous()
    assert torch.equal(sent, expected)
    weights = torch.randn(sent.shape).flatten()[:1].expand(sent.shape)
    sent.backward(weights)
    expected.backward(weights)
    assert received.grad.is_contiguous()
    assert torch.equal(received.grad, plain.grad)


@pytest.mark.parametrize("training", [True, False])
def test_a_part_that_works_in_place_records_what_it_received(training):
    """Else it would accuse its neighbour, whose record says what was sent."""
    runner = Runner(nn.ReLU(inplace=True), TRAIN, False, CPU, CPU)
    channels = [Channel(ACTIVATION, 0, 1, 0), Channel(ACTIVATION, 1, 2, 1)]
    recorder, passing = MessageRecorder(runner, 1, channels), Passing(keeps=True)
    received = torch.tensor([-1.0, 2.0], requires_grad=training)
    recorder.start(passing)
    with torch.set_grad_enabled(training):
        sent = runner(received)
    assert sent.tolist() == [0, 2]
    assert received.tolist() == [-1, 2]
    row = torch.zeros(2, 32, dtype=torch.uint8)
    passing.write(row)
    for number, value in enumerate(([-1.0, 2.0], [0.0, 2.0])):
        assert bytes(row[number].tolist()) == digest_of([torch.tensor(value)])
        assert passing.kept[number][0].tolist() == value
