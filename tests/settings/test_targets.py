"""What the `_target_` of a user's own is given."""

import os
from pathlib import Path
from typing import Annotated

import pytest
import torch
from torch import nn

from tdml.attacks import Attack
from tdml.attacks.base import make_attack
from tdml.data import digits
from tdml.data.source import load
from tdml.errors import SettingError
from tdml.models.split import build
from tdml.settings.targets import partial_of
from tdml.tasks import Classification

GIVEN = {"numbers": [1, 2], "names": {"a": [3], "b": {"c": 4}}}
seen: dict = {}


def model(**given):
    """Note what it is given."""
    seen.update(given)
    return nn.Sequential(nn.Linear(2, 2))


def data(**given):
    """Note what it is given."""
    seen.update(given)
    return digits(8)


def in_double_precision():
    """As files for scientific computing begin."""
    torch.set_default_dtype(torch.float64)
    return nn.Linear(2, 2).float()


def without_gradients():
    """As files for inference begin."""
    torch.set_grad_enabled(False)
    return nn.Linear(2, 2)


def elsewhere():
    """As scripts begin that read their files from where they lie."""
    os.chdir("/")
    return nn.Linear(2, 2)


class Task(Classification):
    def __init__(self, **given):
        super().__init__()
        seen.update(given)


class Own(Attack):
    def __init__(self, **given):
        seen.update(given)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda settings: build(settings, "cpu"), "model"),
        (lambda settings: load(settings, 0), "data"),
        (lambda settings: partial_of(settings, "task")(), "Task"),
        (make_attack, "Own"),
    ],
)
def test_settings_arrive_as_plain_lists_and_dicts(make, name):
    """Not as containers of the library that composes them, which no other library knows."""
    seen.clear()
    make({"_target_": f"{__name__}.{name}", **GIVEN})
    assert seen == GIVEN
    assert [type(value) for value in (seen["numbers"], seen["names"], seen["names"]["b"])] == [
        list,
        dict,
        dict,
    ]
    assert torch.tensor(seen["numbers"]).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("make", "call"),
    [
        (in_double_precision, r"torch\.set_default_dtype"),
        (without_gradients, r"torch\.set_grad_enabled"),
        (elsewhere, r"os\.chdir"),
    ],
)
def test_what_holds_for_all_of_the_process_is_the_users_mistake(make, call):
    """Every node failed in its first step, or did not find the run folder."""
    folder = Path.cwd()
    with pytest.raises(SettingError, match=rf"calls {call}\(\), which holds for all of the"):
        build({"_target_": f"{__name__}.{make.__name__}"}, "cpu")
    assert torch.get_default_dtype() is torch.float32
    assert torch.is_grad_enabled()
    assert Path.cwd() == folder


def switched(
    norm: bool = True,
    width: int = 2,
    plain=False,
    rate: float | None = None,
    kind: Annotated[str, {"least": 1}] = "",
):
    """What switches some of it says so; `plain` may also be another thing, in a word."""
    seen.update(norm=norm, width=width, plain=plain, rate=rate, kind=kind)
    return nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("name", "value", "must_be"),
    [
        ("norm", "off", "true or false"),
        ("norm", "flase", "true or false"),
        ("plain", "No", "true or false"),
        ("width", "wide", "a whole number"),
    ],
)
def test_a_word_is_no_truth_value_and_no_number(name, value, must_be):
    """It counted as true: `norm=off` trained with norms."""
    with pytest.raises(SettingError, match=rf"{name}={value} must be {must_be}$"):
        build({"_target_": f"{__name__}.switched", name: value}, "cpu")


@pytest.mark.parametrize(
    "given",
    [
        {"norm": False, "width": 3},
        {"plain": "weights.pt"},
        {"rate": "cosine"},
        {"kind": "wide"},  # whose annotation has no hash
    ],
)
def test_what_an_argument_may_be_stays_as_it_is(given):
    seen.clear()
    build({"_target_": f"{__name__}.switched", **given}, "cpu")
    assert given.items() <= seen.items()


@pytest.mark.parametrize(
    ("group", "target", "given"),
    [
        ("train.optimizer", "torch.optim.SGD", {"nesterov": "off"}),
        ("train.optimizer", "torch.optim.AdamW", {"amsgrad": "no"}),
        ("train.optimizer", "torch.optim.Adam", {"eps": "tiny"}),
        ("data", "tdml.data.cifar10", {"augment": "off"}),
        ("data", "tdml.data.csv", {"scaled": "no"}),
        ("model", "tdml.models.cnn", {"norm": "off"}),
        ("model", "tdml.models.gpt", {"tied": "no"}),
    ],
)
def test_so_it_is_with_what_torch_and_our_own_take(group, target, given):
    [(name, value)] = given.items()
    with pytest.raises(SettingError, match=rf"{group}=.*: {name}={value} must be "):
        partial_of({"_target_": target, **given}, group)


def test_a_file_that_sets_what_holds_for_all_of_the_process_is_named(tmp_path, monkeypatch):
    """Also where it is imported to see what its function takes."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "in_double.py").write_text(
        "import torch\n\ntorch.set_default_dtype(torch.float64)\nnet = torch.nn.Identity\n"
    )
    with pytest.raises(SettingError, match=r"calls torch\.set_default_dtype\(\), which holds"):
        build({"_target_": "in_double.net"}, "cpu")
    assert torch.get_default_dtype() is torch.float32


def test_what_cannot_be_found_is_said_once(caplog):
    with pytest.raises(SettingError, match="No module named 'nowhere'"):
        partial_of({"_target_": "nowhere.net", "norm": "off"}, "model")
    assert caplog.records == []
