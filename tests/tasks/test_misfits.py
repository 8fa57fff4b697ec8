"""Task, model and data that do not fit each other: one line before any rank starts."""

import math

import numpy as np
import pytest
import torch

from tdml import config as settings
from tdml.data import source, tokens
from tdml.errors import SettingError
from tdml.models.tokens import check_tokens
from tdml.run.prepare import prepare
from tdml.tasks import Classification, Regression
from tdml.tasks.objective import task_of

_SMALL = [
    "model.layers=2",
    "model.width=16",
    "model.heads=2",
    "train.batch_size=4",
    "topology.replicas=2",
]
_GPT = ["task=language", "data=text", "data.context=16", "model=gpt", *_SMALL]


class Pairs(torch.utils.data.Dataset):
    """Points with a number."""

    def __len__(self):
        return 40

    def __getitem__(self, index):
        return torch.rand(3), 0.5 + index


def pairs():
    return Pairs(), Pairs()


def moments():
    """Of which float32 knows the minute."""
    data = [(torch.rand(3), 1_700_000_000 + i) for i in range(400)]
    return data, data


def unsound():
    data = [(torch.full((3,), math.nan), i % 2) for i in range(40)]
    return data, data


def two_classes():
    data = [(torch.rand(3), i % 2) for i in range(40)]
    return data, data


class Spectrum(torch.nn.Module):
    def forward(self, value):
        return torch.fft.rfft(value)


def spectral():
    return torch.nn.Sequential(torch.nn.Linear(3, 8), Spectrum(), torch.nn.Linear(5, 2))


def ragged():
    data = [torch.arange(3 + i % 3) for i in range(40)]
    return data, data


def own(function):
    return [f"data._target_={__name__}.{function}", "~data.size", "train.batch_size=4"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["task=language", "model=gpt"],
            "training sample 0 cannot be read as token ids: it is a tuple of 2: return",
        ),
        (
            ["data=text", "model=gpt"],
            "it is a Tensor: return a tuple of two, a tensor and its label (token ids alone are for ",
        ),
        (
            ["task=regression", "data=text", "model=gpt"],
            "cannot be read as (tensor, target): it is a Tensor: return a tuple of two",
        ),
        (
            [*_GPT, "model.vocabulary=100"],
            "data: there may be a token 255, which the model does not take: set model.vocabulary=256",
        ),
        (
            [*_GPT, "model.context=8"],
            "data.context: sequences have 16 tokens, and the model sees 8 at most",
        ),
        ([*_GPT, "model.heads=3"], "model.width=16 must be a multiple of model.heads=3"),
        (
            [*_GPT, "data.context=100000"],
            "training and 0 test sequences of so many tokens: give more text (data.path)",
        ),
        (
            [*_GPT, "data.context=15000", "train.batch_size=16"],
            "27 training samples are too few for an optimizer step",
        ),
        (
            [*_GPT, "data.partition=dirichlet", "+data.alpha=1.0"],
            "data.partition=dirichlet: the task has no classes",
        ),
        (
            [*_GPT, "task=masked", "task.mask_token=300"],
            "there may be a token 300, which the model does not take",
        ),
        (["task=masked", "data=text", "model=cnn"], "model: block 0 does not take a micro-batch"),
        (
            ["task=language", *own("ragged"), "model=gpt"],
            "training sample 1 is a tensor (3,) of torch.int64, but",
        ),
        (
            own("pairs"),
            "its label 0.5 is no class, which is a whole number from 0: number the classes from 0",
        ),
        (
            ["task=regression", *own("pairs"), "model=mlp"],
            "model.features=3072, but a sample has 3 numbers: set model.features=3",
        ),
        (
            ["task=regression", *own("pairs"), "model=mlp", "model.features=3"],
            "for targets (2, 1) (see task, model, data): the model returns 10 numbers a sample",
        ),
        (
            ["task=regression", *own("moments"), "train.batch_size=8", "model=mlp"],
            "targets that differ are the same in float32: return them from about -1 to 1",
        ),
        (
            ["task=regression", "model=cnn"],
            "the model returns 10 numbers a sample, the data have 1",
        ),
        (
            [*own("two_classes"), "model=mlp", "model.features=3", "model.num_classes=1"],
            "(2, 1), but the data has 2 classes and needs (batch, 2)",
        ),
        (
            [*own("two_classes"), f"model._target_={__name__}.spectral", "~model.num_classes"],
            "returns torch.complex64 (take it apart by torch.view_as_real): it must return one",
        ),
        (
            [*own("unsound"), "model=mlp", "model.features=3"],
            "have values that are not finite: mend it in the data, or leave it out",
        ),
        (
            ["train.optimizer=muon"],
            "its model may have matrices alone: take another, such as train.optimizer=adamw",
        ),
        (
            ["task=nothing"],
            "task=nothing is unknown: choose one of classification, language, masked, regression",
        ),
        (
            ["data.weights=[1,2]"],
            "data.weights=[1, 2]: the data has 10 classes, and the model returns 10 numbers: give a",
        ),
        (["data.weights=0"], "data.weights=0 must be one finite number of at least 0 for each"),
        (["data.weights=[]"], "data.weights=[] must be one finite number of at least 0 for each"),
        ([*_GPT, "data.weights=0"], "data.weights=0: task=tdml.tasks.Language has none: set"),
        ([*_GPT, "task.context=0"], "task.context=0 must be a whole number of at least 1"),
        (
            ["data.weights=[1,1,1,1,1,1,1,1,1,1,1,1]"],
            "1, 1]: the data has 10 classes, and the model returns 10 numbers: give a weight for",
        ),
        (["model=hf", "task=language", "data=text"], "model=hf"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(overrides, message):
    with pytest.raises(SettingError) as caught:
        config = settings.load([*overrides, "topology.stages=2"])
        prepare(config, source.load(config.data, config.seed, task_of(config)), checkpoint=None)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "outputs", "ends"),
    [
        ([1, 2, 3], 3, "4): its labels are 3 different numbers from 1 to 3: number them from 0"),
        ([0, 1, 2], 2, "3)"),
        ([0, 90], 1, "91): its labels are 2 different numbers from 0 to 90: number them from 0"),
    ],
)
def test_why_there_are_more_classes_than_outputs(labels, outputs, ends):
    with pytest.raises(SettingError) as caught:
        Classification().check_output(torch.Size([4, outputs]), labels)
    assert str(caught.value).endswith(f"needs (batch, {ends}")


@pytest.mark.parametrize("task", ["masked", "language"])
def test_a_model_that_looks_back_alone_is_told_of_with_hidden_tokens(task, capsys):
    config = settings.load([*_GPT, f"task={task}", "topology.stages=2"])
    prepare(config, source.load(config.data, config.seed, task_of(config)), checkpoint=None)
    said = "task=masked: the model does not look at the tokens that follow one"
    assert (said in capsys.readouterr().err) == (task == "masked")


def test_two_targets_may_be_close_to_each_other_and_three_are_not_by_chance():
    close = [(torch.zeros(3), 1_700_000_000 + i) for i in range(3)]
    assert len(Regression().collate(close[:2])[1]) == 2
    with pytest.raises(ValueError, match="targets that differ are the same in float32"):
        Regression().collate(close)


def test_a_token_that_only_a_target_is_may_be_beyond_the_model():
    model = torch.nn.Sequential(torch.nn.Embedding(256, 4), torch.nn.Linear(4, 256))
    inputs = torch.tensor([[1, 2, 3]])
    check_tokens(model, inputs, inputs, torch.tensor([[2, 3, 255]]))
    check_tokens(model, inputs, inputs)
    with pytest.raises(
        SettingError, match="there may be a token 300, which the model does not take"
    ):
        check_tokens(model, inputs, inputs, torch.tensor([[2, 3, 300]]))


def test_the_vocabulary_of_a_model_of_hugging_face_bounds_the_tokens_that_are_read(tmp_path):
    np.array([5] * 3000 + [300] + [5] * 999, dtype="<u2").tofile(tmp_path / "ids")
    config = settings.load(
        ["task=language", "data=tokens", f"data.path={tmp_path / 'ids'}", "data.context=16",
         "model=hf", "model.config={model_type: gpt2, vocab_size: 256}"]
    )  # fmt: skip
    train, _ = tokens(**{k: config.data[k] for k in _TOKENS})
    with pytest.raises(ValueError, match="token 300 is not below the vocabulary's 256"):
        _ = [train[i] for i in range(len(train))]


_TOKENS = ("path", "test", "dtype", "vocabulary", "context", "held_out")


def test_tokens_beyond_the_model_are_found_in_the_first_samples(tmp_path):
    np.full(4000, 300, dtype="<u2").tofile(tmp_path / "ids")
    config = settings.load(
        [*_GPT, "data=tokens", f"data.path={tmp_path / 'ids'}", "data.vocabulary=null"]
    )
    with pytest.raises(
        SettingError, match="there may be a token 300, which the model does not take"
    ):
        prepare(config, source.load(config.data, config.seed, task_of(config)), checkpoint=None)
