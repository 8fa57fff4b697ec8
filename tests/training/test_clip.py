"""The norm of the whole model's gradient, told by the stages to one another, against torch's own."""

import queue
import threading
from collections import defaultdict, namedtuple
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tdml.models.layout import Layout
from tdml.training import clip
from tdml.training.borders import NORMS_RECEIVED, NORMS_SENT, empty, sketch
from tdml.training.clip import Clip

STAGES = 3
# Parts dealt to the stages in turn, as under the interleaved schedule: no stage has neighbours in the model's order.
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


def clip_of(most, stage):
    return Clip(most, NAMES, [layout_of(owned) for owned in OWNED], stage, torch.device("cpu"))


class Wires:
    """In place of torch.distributed: threads that send each other tensors. `stage` is the sender's own."""

    isend, irecv, P2POp = "send", "receive", namedtuple("P2POp", "op tensor peer")

    def __init__(self):
        self.own, self._sent = threading.local(), defaultdict(queue.Queue)

    def batch_isend_irecv(self, crossing):
        for message in crossing:
            if message.op == self.isend:
                self._sent[self.own.stage, message.peer].put(message.tensor.clone())
        return [SimpleNamespace(wait=lambda m=message: self._receive(m)) for message in crossing]

    def _receive(self, message):
        if message.op == self.irecv:
            message.tensor.copy_(self._sent[message.peer, self.own.stage].get(timeout=10))


def test_every_stage_clips_as_the_whole_model_would(monkeypatch):
    made, records = parameters(), [empty(1, 2, 2, STAGES).zero_() for _ in OWNED]
    wires = Wires()
    monkeypatch.setattr(clip, "dist", wires)

    def clip_stage(stage):
        wires.own.stage = stage
        clip_of(0.7, stage)([made[i] for i in OWNED[stage]], records[stage][0])

    before = [None if p.grad is None else p.grad.clone() for p in made]
    with ThreadPoolExecutor(STAGES) as pool:
        list(pool.map(clip_stage, range(STAGES)))
    whole = parameters()
    assert nn.utils.clip_grad_norm_(whole, 0.7) > 0.7
    for ours, torchs in zip(made, whole, strict=True):
        assert ours.grad is torchs.grad is None or torch.equal(ours.grad, torchs.grad)
    for sender, owned in enumerate(OWNED):
        told = torch.tensor([-1.0 if before[i] is None else float(torch.linalg.vector_norm(before[i])) for i in owned])
        kinds = [NORMS_SENT if stage == sender else NORMS_RECEIVED + sender for stage in range(STAGES)]
        for row, kind in zip(records, kinds, strict=True):
            assert torch.equal(row[0, 0, kind, 0], sketch(told))


@pytest.mark.parametrize("most", [0.7, 1e3])
def test_one_stage_alone(most):
    ours, torchs = parameters(), parameters()
    Clip(most, NAMES, [layout_of(range(len(SHAPES)))], 0, torch.device("cpu"))(ours)
    nn.utils.clip_grad_norm_(torchs, most)
    for one, other in zip(ours, torchs, strict=True):
        assert one.grad is other.grad is None or torch.equal(one.grad, other.grad)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_hidden(wrong):
    ours = parameters(wrong)
    Clip(1.0, NAMES, [layout_of(range(len(SHAPES)))], 0, torch.device("cpu"))(ours)
    assert not any(p.grad.isfinite().all() for p in ours if p.grad is not None)
