"""The norm of the whole model's gradient, told by the stages to one another, against torch's
own."""

import queue
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tdml.models.layout import Layout
from tdml.node import clip
from tdml.node.clip import Clip
from tdml.node.messages import NORM, Passing, as_row, channels, digest_of, empty_log, of_stage

STAGES = 3
# Parts dealt to the stages in turn, as under the interleaved schedule: no stage has neighbours in
# the model's order.
SHAPES = [(4, 3), (4,), (5, 4), (5,), (2, 5), (2,), (3, 2), (3,), (3, 3), (3,), (3, 3), (1,)]
OWNED = [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
NAMES = [str(i) for i in range(len(SHAPES))]
UNUSED = 3  # no gradient reaches it


def parameters(scale=1.0):
    generator = torch.Generator().manual_seed(0)
    made = [nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    for number, parameter in enumerate(made):
        if number != UNUSED:
            parameter.grad = scale * torch.randn(parameter.shape, generator=generator)
    return made


def layout_of(owned):
    shapes = tuple(torch.Size(SHAPES[i]) for i in owned)
    count = sum(shape.numel() for shape in shapes)
    return Layout(tuple(NAMES[i] for i in owned), shapes, count, count, len(owned))


CHANNELS = channels(2 * STAGES, STAGES, clipped=True)


def clip_of(most, stage):
    return Clip(
        most, NAMES, [layout_of(owned) for owned in OWNED], stage, torch.device("cpu"), CHANNELS
    )


def clip_alone(most, made):
    """By the only stage of a replica."""
    clip = Clip(
        most,
        NAMES,
        [layout_of(range(len(SHAPES)))],
        0,
        torch.device("cpu"),
        channels(1, 1, clipped=True),
    )
    clip.apply(made, [clip.norms(made)], None)


class Wires:
    """In place of torch.distributed: threads that send each other tensors. `stage` is the sender's
    own."""

    isend, irecv, P2POp = "send", "receive", namedtuple("P2POp", "op tensor peer")

    def __init__(self):
        self.own = threading.local()
        self._sent = {ends: queue.Queue() for ends in permutations(range(STAGES), 2)}

    def batch_isend_irecv(self, crossing):
        for message in crossing:
            if message.op == self.isend:
                self._sent[self.own.stage, message.peer].put(message.tensor.clone())
        return [SimpleNamespace(wait=lambda m=message: self._receive(m)) for message in crossing]

    def _receive(self, message):
        if message.op == self.irecv:
            message.tensor.copy_(self._sent[message.peer, self.own.stage].get(timeout=10))


def test_every_stage_clips_as_the_whole_model_would(monkeypatch):
    made, passing = parameters(), [Passing() for _ in OWNED]
    wires = Wires()
    monkeypatch.setattr(clip, "dist", wires)

    def clip_stage(stage):
        wires.own.stage = stage
        own, held = clip_of(0.7, stage), [made[i] for i in OWNED[stage]]
        own.apply(held, own.exchange(own.norms(held)), passing[stage])

    before = [None if p.grad is None else p.grad.clone() for p in made]
    with ThreadPoolExecutor(STAGES) as pool:
        list(pool.map(clip_stage, range(STAGES)))
    whole = parameters()
    assert nn.utils.clip_grad_norm_(whole, 0.7) > 0.7
    for ours, torchs in zip(made, whole, strict=True):
        assert ours.grad is torchs.grad is None or torch.equal(ours.grad, torchs.grad)
    logs = [empty_log(1, CHANNELS) for _ in OWNED]
    for passes, log in zip(passing, logs, strict=True):
        passes.write(log[0])
    for sender, owned in enumerate(OWNED):
        told = torch.tensor(
            [
                -1.0 if before[i] is None else float(torch.linalg.vector_norm(before[i]))
                for i in owned
            ]
        )
        for number, channel in enumerate(CHANNELS):
            if channel.kind == NORM and channel.sender == sender:
                for end in (channel.sender, channel.receiver):
                    assert torch.equal(logs[end][0, number], as_row(digest_of([told])))
    for stage, log in enumerate(logs):
        own = [i for i in of_stage(CHANNELS, stage) if CHANNELS[i].kind == NORM]
        assert log[0].any(dim=1).nonzero().view(-1).tolist() == own


@pytest.mark.parametrize("most", [0.7, 1e3])
def test_one_stage_alone(most):
    ours, torchs = parameters(), parameters()
    clip_alone(most, ours)
    nn.utils.clip_grad_norm_(torchs, most)
    for one, other in zip(ours, torchs, strict=True):
        assert one.grad is other.grad is None or torch.equal(one.grad, other.grad)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_hidden(wrong):
    ours = parameters(wrong)
    clip_alone(1.0, ours)
    assert not any(p.grad.isfinite().all() for p in ours if p.grad is not None)
