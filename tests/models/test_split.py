import sys

import pytest
import torch
from torch import nn

from tdml import models
from tdml.errors import SettingError
from tdml.models.split import Border, Part, blocks_of, build, check_complete
from tests.models.user_models import shares_a_table

CNN = {"_target_": "tdml.models.cnn", "num_classes": 10, "channels": 3, "width": 4, "norm": True}
RESNET = {"_target_": "tdml.models.resnet18", "num_classes": 10}


# Users' own models


class WithBlocks(nn.Module):
    """Two layers under names of their own; `blocks()` may forget the second."""

    def __init__(self, forget=False):
        super().__init__()
        self.entry, self.exit = nn.Linear(4, 5), nn.Linear(5, 3)
        self.forget = forget

    def blocks(self):
        return [self.entry] if self.forget else [self.entry, self.exit]


def tied():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    return model


def tied_statistics():
    model = nn.Sequential(nn.BatchNorm1d(4), nn.BatchNorm1d(4))
    model[1].running_mean = model[0].running_mean
    return model


def no_module():
    return [nn.Linear(4, 3)]


def sizes_left_open():
    return nn.Sequential(nn.Linear(4, 4), nn.LazyLinear(3))


def complex_buffer():
    model = nn.Sequential(nn.Linear(4, 3))
    model.register_buffer("phases", torch.zeros(2, dtype=torch.complex64))
    return model


class BlocksThatFail(nn.Module):
    def blocks(self):
        raise RuntimeError("not\nyet")


class BlocksThatAreNoModules(nn.Module):
    def blocks(self):
        return [nn.Flatten(), torch.relu]


class BlocksIsAModule(nn.Module):
    """As in timm."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(nn.Linear(4, 4), nn.ReLU())


class BlocksMadeAnew(nn.Module):
    def __init__(self):
        super().__init__()
        self.entry = nn.Linear(4, 3)

    def blocks(self):
        return [self.entry, nn.Linear(3, 3)]


class FlattensFirst(nn.Sequential):
    """Not what its children alone do."""

    def forward(self, value):
        return super().forward(value.flatten(1))


def settings(function, **arguments):
    return {"_target_": f"{function.__module__}.{function.__name__}", **arguments}


def ends_the_program():
    sys.exit(2)


class AlwaysEvaluated(nn.Linear):
    """As what torch.export makes of a model."""

    def train(self, mode=True):
        raise NotImplementedError("Calling train() is not supported yet.")


def always_evaluated():
    return AlwaysEvaluated(4, 3)


# Building


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"_target_": "tdml.models.nothing"},
            f"model=tdml.models.nothing cannot be used: tdml.models ({models.__file__}) has no nothing",
        ),
        (
            {"_target_": "no_such_package.model"},
            "model=no_such_package.model cannot be used: No module named 'no_such_package'",
        ),
        (
            {"_target_": "__main__.Net"},
            "model=__main__.Net cannot be used: nodes are processes of their own: put Net into a",
        ),
        (
            CNN | {"colour": 1},
            "unexpected keyword argument 'colour': leave out model.colour ('~model.colour' where a file",
        ),
        (
            settings(no_module),
            "returned list: it must return an nn.Sequential of blocks or a module with a method",
        ),
        (
            {"_target_": "torch.nn.ModuleList"},
            "returned ModuleList: it must return an nn.Sequential of blocks or a module with",
        ),
        (
            settings(sizes_left_open),
            "model: 1.weight gets its shape from the first batch: give its layer the sizes",
        ),
        (settings(complex_buffer), "model: phases holds complex numbers"),
        (settings(always_evaluated), "model: its train() fails: Calling train() is not"),
        (settings(ends_the_program), "it ends the program (status 2): what reads the command line"),
    ],
    ids=[
        "function",
        "package",
        "notebook",
        "setting",
        "no module",
        "list",
        "lazy",
        "complex",
        "train",
        "program",
    ],
)
def test_what_cannot_be_built_is_the_users_mistake(model, message):
    with pytest.raises(SettingError) as caught:
        build(model, "meta")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_with_a_mistake_is_named_by_file_and_line(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "spoilt_module.py").write_text("x = 1\ndef net(:\n")
    with pytest.raises(SettingError, match=r"cannot be used: .*spoilt_module\.py, line 2: "):
        build({"_target_": "spoilt_module.net"}, "meta")


def test_the_blocks_of_a_module_are_those_that_it_names():
    model = build(settings(WithBlocks), "meta")
    assert blocks_of(model) == [model.entry, model.exit]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (BlocksThatFail, "model: blocks() fails: not yet"),
        (BlocksThatAreNoModules, "model: blocks() must list modules"),
        (nn.Sequential, "model: it has no blocks, so there is nothing to train"),
    ],
)
def test_blocks_that_are_none_are_the_users_mistake(model, message):
    with pytest.raises(SettingError) as caught:
        blocks_of(build(settings(model), "meta"))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "make", [lambda: nn.Linear(4, 3), BlocksIsAModule, lambda: FlattensFirst(nn.Linear(4, 3))]
)
def test_a_model_that_lists_no_blocks_is_one(make):
    model = make()
    assert blocks_of(model) == [model]


def test_torchvisions_resnets_have_a_block_for_every_residual():
    assert len(blocks_of(build(RESNET, "meta"))) == 10
    assert len(blocks_of(build(RESNET | {"_target_": "tdml.models.resnet50"}, "meta"))) == 18


# Parts


def test_names_are_those_of_the_whole_model():
    model = build(RESNET, "meta")
    part = Part(model, 0, 2)
    assert part.parameters["conv1.weight"] == "0.0.weight"
    assert part.parameters["layer1.0.bn2.bias"] == "1.bn2.bias"
    assert "layer1.1.conv1.weight" not in part.parameters
    assert {"bn1.running_mean", "layer1.0.bn1.num_batches_tracked"} <= set(part.buffers)
    own, whole = dict(part.module.named_parameters()), dict(model.named_parameters())
    assert all(own[local] is whole[name] for name, local in part.parameters.items())


@pytest.mark.parametrize("edges", [[0, 10], [0, 4, 10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]])
def test_the_parts_have_every_tensor_once(edges):
    model = build(RESNET, "meta")
    parts = [Part(model, *edges[i : i + 2]) for i in range(len(edges) - 1)]
    names = [name for part in parts for name in (*part.parameters, *part.buffers)]
    assert sorted(names) == sorted(model.state_dict())
    check_complete(model, blocks_of(model))


def test_only_the_own_part_takes_memory():
    model = build(CNN, "meta")
    part = Part(model, 1, 3)
    part.materialise(torch.device("cpu"))
    blocks = blocks_of(model)
    own = [tensor for block in blocks[1:3] for tensor in block.state_dict().values()]
    other = [tensor for block in (blocks[0], blocks[3]) for tensor in block.state_dict().values()]
    assert {tensor.device.type for tensor in own} == {"cpu"}
    assert {tensor.device.type for tensor in other} == {"meta"}


def test_tied_tensors_stay_tied_when_they_get_memory():
    part, norms = (
        Part(model, 0, len(model))
        for model in (build(settings(m), "meta") for m in (tied, tied_statistics))
    )
    for each in (part, norms):
        each.materialise(torch.device("cpu"))
    assert part.module[0].weight is part.module[2].weight
    assert part.module[0].bias is not part.module[2].bias
    assert len(part.tensors(part.parameters)) == len(list(part.module.parameters())) == 3
    assert norms.module[0].running_mean is norms.module[1].running_mean
    assert norms.module[0].running_var is not norms.module[1].running_var


def test_tensors_come_in_the_order_of_the_names():
    model = build(CNN, "cpu")
    part = Part(model, 1, 3)
    everything = model.state_dict()
    for names in (part.parameters, part.buffers):
        for name, tensor in zip(names, part.tensors(names), strict=True):
            assert tensor.data_ptr() == everything[name].data_ptr()


def test_every_part_has_a_shared_buffer_of_its_own():
    model = build(settings(shares_a_table), "meta")
    parts = [Part(model, i, i + 1) for i in range(3)]
    assert [part.buffers for part in parts] == [{"0.table": "0.table"}, {}, {"0.table": "0.table"}]
    for part in parts:
        part.materialise(torch.device("cpu"))
    assert parts[0].module[0].table is not parts[2].module[0].table


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (WithBlocks(forget=True), r"blocks\(\) leaves out exit\.bias, exit\.weight"),
        (
            BlocksMadeAnew(),
            r"blocks\(\) lists bias in block 1, which is none of the model's own tensors",
        ),
    ],
)
def test_the_blocks_must_hold_all_that_the_model_holds_and_no_more(model, message):
    with pytest.raises(SettingError, match=message):
        check_complete(model, blocks_of(model))


def test_a_border_gives_an_example():
    example = Border(torch.Size([2, 3]), torch.float64).example(requires_grad=True)
    assert (example.shape, example.dtype, example.requires_grad) == ((2, 3), torch.float64, True)
    assert not Border(torch.Size([2]), torch.int64).example(requires_grad=False).requires_grad
