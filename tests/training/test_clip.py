"""The norm of the whole model's gradient, told by the stages to one another, against torch's own."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from tdml.models.layout import Layout
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


def run(stage, store, folder):
    dist.init_process_group("gloo", store=dist.FileStore(store, STAGES), rank=stage, world_size=STAGES)
    made, records = parameters(), empty(1, 2, 2, STAGES).zero_()
    clip_of(0.7, stage)([made[i] for i in OWNED[stage]], records[0])
    torch.save(([made[i].grad for i in OWNED[stage]], records), f"{folder}/{stage}")
    dist.destroy_process_group()


@pytest.mark.timeout(60)
def test_every_stage_clips_as_the_whole_model_would(tmp_path):
    mp.start_processes(run, (str(tmp_path / "store"), str(tmp_path)), STAGES, start_method="forkserver")
    whole = parameters()
    assert nn.utils.clip_grad_norm_(whole, 0.7) > 0.7
    found = [torch.load(tmp_path / str(stage)) for stage in range(STAGES)]
    for owned, (gradients, _) in zip(OWNED, found, strict=True):
        for number, gradient in zip(owned, gradients, strict=True):
            assert gradient is None if number == UNUSED else torch.equal(gradient, whole[number].grad)
    for sender, (_, records) in enumerate(found):
        before = [p.grad for p in parameters()]
        norms = torch.tensor([-1.0 if before[i] is None else float(before[i].norm()) for i in OWNED[sender]])
        assert torch.allclose(records[0, 0, NORMS_SENT, 0, :9], sketch(norms)[:9])
        for receiver, (_, others) in enumerate(found):
            if receiver != sender:
                assert torch.equal(others[0, 0, NORMS_RECEIVED + sender, 0], records[0, 0, NORMS_SENT, 0])


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
