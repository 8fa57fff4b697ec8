"""Sizes of our own models, and what adapters are for."""

import pytest

from tdml import config as settings
from tests.settings.configs import refused

_SIZES = [
    *(("cnn", name) for name in ("num_classes", "channels", "width")),
    *(("gpt", name) for name in ("vocabulary", "context", "layers", "width", "heads")),
    *(("mlp", name) for name in ("num_classes", "features", "hidden", "depth")),
    ("resnet18", "num_classes"), ("resnet50", "num_classes"),
]  # fmt: skip
_HALVED = ("csv", "hf", "text", "tokens")


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [
        *((*size, "2.5") for size in _SIZES),
        *(("mlp", "depth", value) for value in ("-1", "null", "true", "many", "[2]")),
    ],
)
def test_sizes_of_our_models_are_whole_numbers(model, name, value):
    said = refused(f"model={model}", f"model.{name}={value}")
    assert said.startswith(f"model.{name}=") and " must be a whole number of at least " in said


@pytest.mark.parametrize("task", ["language", "masked"])
@pytest.mark.parametrize("name", ["context", "padding"])
def test_tokens_of_a_task_are_whole_numbers_or_none(task, name):
    chosen = [f"task={task}", "data=text"]
    for value in ("-1", "1.5", "true", "'\"8\"'"):
        said = refused(*chosen, f"task.{name}={value}")
        assert said.startswith(f"task.{name}=") and " must be a whole number of at least " in said
    assert settings.load([*chosen, f"task.{name}=null"]).task[name] is None


@pytest.mark.parametrize(
    ("chosen", "name"),
    [("task=masked", "task.share"), *((f"data={d}", "data.held_out") for d in _HALVED)],
)
@pytest.mark.parametrize("value", ["0", "1", "15", "-1", "0.0", "1.0", "-0.1", "null", "true"])
def test_shares_leave_some_on_both_sides(chosen, name, value):
    assert " must be a share between 0 and 1" in refused(chosen, f"{name}={value}")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task=masked", "task.mask_token=null"], "task.mask_token=None must be a whole number"),
        (["data.size=0"], "data.size=0 must be a whole number of at least 1"),
        (["data.size=513"], "data.size=513 must be at most 512 pixels"),
        (["data=text", "data.context=0"], "data.context=0 must be a whole number of at least 1"),
        (["data=text", "data.context=null"], "data.context=None must be a whole number of at"),
        (
            ["data=tokens", "data.vocabulary=1e30"],
            "data.vocabulary=1e+30 must be a whole number of at least 1",
        ),
        (
            ["data=tokens", "data.dtype=int8"],
            "data.dtype=int8 is unknown: choose one of uint16, uint32",
        ),
        (
            ["model=hf", "model.head=tail"],
            "model.head=tail is unknown: choose one of causal, masked, classifier",
        ),
        (
            ["model=resnet50", "model.stem=vgg"],
            "model.stem=vgg is unknown: choose one of imagenet, cifar_pooled, cifar",
        ),
    ],
)
def test_what_ours_cannot_be_is_told(overrides, message):
    assert refused(*overrides).startswith(message)


def test_a_perceptron_may_have_no_hidden_layer_and_others_have_one_of_each():
    assert settings.load(["model=mlp", "model.depth=0"]).model["depth"] == 0
    assert (
        refused("model=gpt", "model.heads=0")
        == "model.heads=0 must be a whole number of at least 1"
    )


def test_a_model_of_the_users_takes_what_it_says():
    overrides = ["model=mlp", "model._target_=mine.net", "model.depth=0.5", "+model.lora=all"]
    assert settings.load(overrides).model["depth"] == 0.5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.lora=null", "model.lora=None must be a mapping: for adapters set model.lora.rank"),
        ("model.lora=8", "model.lora=8 must be a mapping"),
        ("model.lora.rank=0", "model.lora.rank=0 must be a whole number from 1, or null"),
        ("model.lora.rank=0.5", "model.lora.rank=0.5 must be a whole number from 1, or null"),
        (
            "model.lora.targets=q_proj",
            "model.lora.targets=q_proj must be all-linear, or a list of names of layers, such as "
            "model.lora.targets=[q_proj]",
        ),
        (
            "+model.lora.r=8",
            "model.lora.r is read by nothing: it has rank, alpha, dropout, targets",
        ),
    ],
)
def test_adapters_that_cannot_be_are_refused(override, message):
    assert refused("model=hf", override).startswith(message)


@pytest.mark.parametrize("given", ["alpha=32", "dropout=0.1", "targets=[q_proj]"])
def test_what_adapters_are_like_asks_for_some(given):
    """All of the model was trained, without a word."""
    override = f"model.lora.{given}"
    said = refused("model=hf", override)
    assert said.startswith(f"{override}: nothing reads it without a rank, and all of the model is")
    for rank in (8, "null"):
        assert settings.load(["model=hf", override, f"model.lora.rank={rank}"])
    assert settings.load(["model=mlp", "model._target_=mine.net", f"+{override}"])
    assert refused("model=hf", override, "~model.lora") == said


def test_adapters_may_be_given_together():
    together = "model.lora={alpha: 32}"
    assert refused("model=hf", together).startswith(f"{together}: nothing reads it without a rank")
    lora = settings.load(["model=hf", "model.lora={rank: 4, alpha: 32}"]).model["lora"]
    assert (lora["rank"], lora["alpha"], lora["targets"]) == (4, 32, "all-linear")


@pytest.mark.parametrize(
    ("data", "setting"),
    [*((data, "data.path") for data in _HALVED), ("tokens", "data.test")],
)
@pytest.mark.parametrize("path", ["", "[]"])
def test_a_path_that_a_shell_has_left_empty_is_none(data, setting, path):
    """It was the current folder, or as if nothing had been given."""
    said = refused(f"data={data}", f"{setting}={path}")
    assert said == f"{setting}={path} is empty: give a file or folder"
