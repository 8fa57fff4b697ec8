import pytest
import torch
from torch import nn

from tdml.common.vision import torchvision
from tdml.models import whole
from tdml.models.layout import Layout, change
from tdml.models.plan import Plan, layouts
from tdml.models.split import Part, blocks_of, build

RESNET = {"_target_": "tdml.models.resnet18", "num_classes": 10}
CNN = {"_target_": "tdml.models.cnn", "num_classes": 10, "channels": 3, "width": 4, "norm": True}
MLP = {"_target_": "tdml.models.mlp", "num_classes": 10, "features": 12, "hidden": 5, "depth": 2}


def trained(settings, seed):
    """A model whose buffers differ from their initial values too."""
    model = whole.initial_model(settings, seed)
    generator = torch.Generator().manual_seed(seed)
    for name, buffer in model.named_buffers():
        values = torch.rand(buffer.shape, generator=generator)
        buffer.copy_((values * 9999).round() if name.endswith("num_batches_tracked") else values)
    return model


def plan_for(cuts):
    return Plan(tuple(cuts), (), (), 1)


def test_parameters_come_first_then_buffers():
    part = Part(nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1)), 0, 2)
    layout = Layout.of([part])
    assert layout.names == (
        *("0.weight", "0.bias", "1.weight", "1.bias"),
        *("0.running_mean", "0.running_var", "0.num_batches_tracked"),
    )
    assert [tuple(shape) for shape in layout.shapes] == [(2,), (2,), (1, 2), (1,), (2,), (2,), ()]
    assert (layout.parameters, layout.size) == (7, 12)


def test_flattening_by_hand():
    layout = Layout(("a", "b", "n"), (torch.Size([2, 2]), torch.Size([1]), torch.Size([])), 4, 6, 1)
    tensors = [torch.tensor([[1.0, 2.0], [3.0, 4.0]]).T, torch.tensor([5.0]), torch.tensor(6)]
    flat = layout.flatten(tensors)
    assert flat.tolist() == [1.0, 3.0, 2.0, 4.0, 5.0, 6.0]
    assert flat.dtype == torch.float32
    empty = [torch.zeros(2, 2), torch.zeros(1), torch.tensor(0)]
    layout.scatter(flat, empty)
    assert [tensor.tolist() for tensor in empty] == [[[1.0, 3.0], [2.0, 4.0]], [5.0], 6]
    assert [view.tolist() for view in layout.views(flat)] == [[[1.0, 3.0], [2.0, 4.0]], [5.0], 6.0]


@pytest.mark.parametrize(("averaged", "count"), [(6.4, 6), (6.6, 7), (0.0, 0), (2.0**24, 2**24)])
def test_whole_numbers_are_rounded(averaged, count):
    layout, tensor = Layout(("n",), (torch.Size([]),), 0, 1, 0), torch.tensor(1)
    layout.scatter(torch.tensor([averaged]), [tensor])
    assert (tensor.item(), tensor.dtype) == (count, torch.int64)


def test_flattening_copies():
    layout, tensor = Layout(("a",), (torch.Size([2]),), 2, 2, 1), torch.ones(2)
    flat = layout.flatten([tensor])
    tensor.zero_()
    assert flat.tolist() == [1.0, 1.0]


def test_a_parameter_that_requires_gradients_can_be_written():
    layout, parameter = Layout(("a",), (torch.Size([2]),), 2, 2, 1), nn.Parameter(torch.zeros(2))
    layout.scatter(torch.ones(2), [parameter])
    assert parameter.tolist() == [1.0, 1.0]
    assert parameter.grad_fn is None


# The whole model and back


@pytest.mark.parametrize(
    ("settings", "cuts", "stages"),
    [
        (MLP, [], 1),
        (MLP, [1, 2], 3),
        (CNN, [2], 2),
        (CNN, [1, 2, 3], 2),  # interleaved: the first node has blocks 0 and 2
        (RESNET, [], 1),
        (RESNET, [3, 6], 3),
        (RESNET, [2, 5, 7], 2),
    ],
)
def test_a_model_survives_the_way_through_the_stages(settings, cuts, stages):
    sender, receiver = trained(settings, 1), trained(settings, 2)
    layout = layouts(plan_for(cuts), sender, stages)
    flats = whole.flatten(sender, layout)
    assert [flat.shape for flat in flats] == [(each.size,) for each in layout]
    assert sum(each.parameters for each in layout) == sum(p.numel() for p in sender.parameters())
    whole.write(receiver, layout, flats)
    received = receiver.state_dict()
    for name, tensor in sender.state_dict().items():
        assert torch.equal(received[name], tensor), name


def test_an_interleaved_node_holds_every_other_part():
    first, second = layouts(plan_for([1, 2, 3]), build(CNN, "meta"), 2)
    assert {name.split(".")[0] for name in first.names} == {"0", "2"}
    assert {name.split(".")[0] for name in second.names} == {"1", "3"}


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_keys_are_torchvisions_own(name):
    ours = build({"_target_": f"tdml.models.{name}", "num_classes": 7}, "meta")
    with torch.device("meta"):
        theirs = getattr(torchvision().models, name)(num_classes=7)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [t.shape for t in ours.state_dict().values()] == [
        t.shape for t in theirs.state_dict().values()
    ]


def test_torchvisions_model_loads_the_weights_and_computes_what_the_parts_compute():
    plan, sender = plan_for([3, 6]), trained(RESNET, 1)
    flats = whole.flatten(sender, layouts(plan, sender, 3))
    inputs = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    value = inputs
    for stage, flat in enumerate(flats):
        (part,) = plan.cut(build(RESNET, "meta"), [stage])
        part.materialise(torch.device("cpu"))
        Layout.of([part]).scatter(flat, part.tensors(part.parameters) + part.tensors(part.buffers))
        with torch.no_grad():
            value = part.module.eval()(value)
    theirs = torchvision().models.resnet18(num_classes=10)
    theirs.load_state_dict(sender.state_dict(), strict=True)
    with torch.no_grad():
        assert torch.equal(value, theirs.eval()(inputs))


def test_initial_weights_are_decided_by_the_seed_alone():
    torch.manual_seed(1)
    first = whole.initial_model(MLP, 5).state_dict()
    torch.manual_seed(2)
    again, other = (
        whole.initial_model(MLP, 5).state_dict(),
        whole.initial_model(MLP, 6).state_dict(),
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.1.weight"], other["0.1.weight"])


def test_making_a_model_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    whole.initial_model(MLP, 5)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_change_is_zero_where_infinities_stay():
    inf, nan, big = float("inf"), float("nan"), 3e38
    before = torch.tensor([1.0, inf, -inf, 2.0, inf, nan, big, big])
    after = torch.tensor([3.0, inf, -inf, inf, 2.0, 1.0, -big, 0.0])
    expected = torch.tensor([2.0, 0.0, 0.0, inf, -inf, nan, -inf, -big])
    assert torch.equal(change(before, after).nan_to_num(7.0), expected.nan_to_num(7.0))
    assert torch.equal(change(before[:1], after[:1]), expected[:1])
    assert torch.equal(change(before[[1, 7]], after[[1, 7]]), expected[[1, 7]])


@pytest.mark.parametrize(("settings", "shape"), [(MLP, (2, 3, 2, 2)), (CNN, (2, 3, 16, 16))])
def test_the_blocks_are_the_model(settings, shape):
    model, value = whole.initial_model(settings, 0).eval(), torch.ones(shape)
    for block in blocks_of(model):
        value = block(value)
    assert value.shape == (2, 10)
    assert torch.equal(value, model(torch.ones(shape)))
