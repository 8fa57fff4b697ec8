from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from tdml import config as settings
from tdml.attacks import Attack
from tdml.data.source import Source, load_source
from tdml.errors import SettingError
from tdml.models.whole import tensors_of
from tdml.round.checkpoint import Checkpoint
from tdml.run.prepare import prepare

CONFIG = settings.load(
    ["model._target_=tests.run.test_prepare.net", "topology.replicas=2", "train.batch_size=4"]
)


def net(num_classes):
    return nn.Sequential(nn.Linear(6, 6), nn.Linear(6, num_classes))


class Whole(nn.Module):
    """No `nn.Sequential`; as in timm, `blocks` is one of its modules."""

    def __init__(self, num_classes):
        super().__init__()
        self.embed, self.blocks = nn.Linear(6, 6), nn.Sequential(nn.Linear(6, num_classes))

    def forward(self, value):
        return self.blocks(self.embed(value).relu())


def samples(count, shape=(6,), dtype=torch.float32, labels=None):
    classes = torch.arange(count) % 3 if labels is None else labels
    return TensorDataset(torch.zeros(count, *shape, dtype=dtype), classes)


class OfOld(Attack):
    """Written for an earlier version."""

    def check(self, labels, outputs):
        raise AssertionError("nobody calls it so any more")

    def corrupt(self, update, context):
        return -update


class Lists(TensorDataset):
    """Hands out lists instead of tensors."""

    def __getitem__(self, index):
        value, label = super().__getitem__(index)
        return value.tolist(), label


class Growing(TensorDataset):
    """Each sample is larger than the last."""

    def __getitem__(self, index):
        value, label = super().__getitem__(index)
        return value.repeat(index + 1), label


def test_a_job_that_fits():
    job = prepare(CONFIG, Source(samples(40), samples(10), seed=0), checkpoint=None)
    assert job.plan.borders[0].shape == (2, 6)


def test_a_job_that_goes_on_keeps_what_is_frozen():
    """Whatever the folder has by now that the model once came from."""
    config = settings.load(
        ["task=language", "data=text", "data.context=8", "model=gpt", "model.layers=1",
         "model.width=8", "model.heads=1", "model._target_=tests.plugins.half_frozen",
         "topology.replicas=1", "topology.stages=1", "train.batch_size=4"]
    )  # fmt: skip
    source = load_source(config)
    job = prepare(config, source, checkpoint=None)
    model = {name: tensor + 1 for name, tensor in tensors_of(job.model).items()}
    checkpoint = Checkpoint(1, model, [], 1, [], {}, {}, {}, {}, [], "")
    [first], [later] = job.frozen, prepare(config, source, checkpoint).frozen
    assert first and all(torch.equal(b, a + 1) for a, b in zip(first, later, strict=True))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"1.weight": torch.zeros(4, 6)}, r"1\.weight is \(10, 6\), and \(4, 6\) in the run to"),
        ({"2.weight": torch.zeros(4)}, r"2\.weight is None, and \(4,\) in the run to resume: put"),
        ({"1.bias": None}, r"1\.bias is \(10,\), and None in the run to resume: put back the code"),
    ],
)
def test_a_model_that_is_another_by_now_is_the_users_mistake(changed, message):
    source = Source(samples(40), samples(10), seed=0)
    model = tensors_of(prepare(CONFIG, source, checkpoint=None).model) | changed
    model = {name: tensor for name, tensor in model.items() if tensor is not None}
    checkpoint = Checkpoint(1, model, [], 1, [1], {}, {}, {}, {}, [], "")
    with pytest.raises(SettingError, match=message):
        prepare(CONFIG, source, checkpoint)


def test_for_one_stage_no_blocks_are_needed():
    topology = replace(CONFIG.topology, stages=1)
    config = replace(
        CONFIG,
        topology=topology,
        model={"_target_": "tests.run.test_prepare.Whole", "num_classes": 3},
    )
    job = prepare(config, Source(samples(40), samples(10), seed=0), checkpoint=None)
    assert job.layouts[0].names == (
        "embed.weight",
        "embed.bias",
        "blocks.0.weight",
        "blocks.0.bias",
    )


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (
            Lists(*samples(40).tensors),
            samples(10),
            "data: training sample 0 cannot be read .* its input is a list",
        ),
        (
            Growing(*samples(40).tensors),
            samples(10),
            r"data: training sample \d+ is a tensor \(\d+,\) .* 0 .* \(6,\)",
        ),
        (
            samples(40, labels=torch.zeros(40, 2, dtype=torch.int64)),
            samples(10),
            r"data: training sample 0 .* its label \[0, 0\] is no class",
        ),
        (
            samples(40),
            samples(10, shape=(2, 3)),
            r"data: test sample \d+ is a tensor \(2, 3\) .* 0 is a tensor \(6,\)",
        ),
        (
            samples(40),
            samples(10, dtype=torch.float64),
            "data: test sample .* torch.float64, .* 0 .* torch.float32",
        ),
        (
            samples(40, dtype=torch.float64),
            samples(10, dtype=torch.float64),
            r"model: block 0 does not take .* inputs are torch.float64, .* such as inputs\.float\(\)",
        ),
        (
            samples(40, dtype=torch.uint8),
            samples(10, dtype=torch.uint8),
            r"model: block 0 .* inputs are torch.uint8, .* such as image\.float\(\) / 255",
        ),
        (
            samples(40, dtype=torch.int64),
            samples(10, dtype=torch.int64),
            (
                "model: block 0 .* inputs are torch.int64, .* a layer that is no embedding takes "
                "floats"
            ),
        ),
        (
            samples(40, labels=torch.arange(40) % 10 + 1),
            samples(10, labels=torch.arange(10) + 1),
            r"model.num_classes .*: .* \(2, 10\), .* needs \(batch, 11\): its labels are \d+ different numbers from 1 to 10: number",
        ),
        (
            samples(40, labels=torch.arange(40) % 3 * 10**12),
            samples(10, labels=torch.arange(10) % 3 * 10**12),
            "model.num_classes .*: .* its labels are 3 different numbers from .*: number them from 0",
        ),
    ],
    ids=[
        "lists",
        "growing",
        "label vectors",
        "test shape",
        "test type",
        "float64",
        "uint8",
        "int64",
        "labels from 1",
        "labels with gaps",
    ],
)
def test_samples_that_do_not_fit_are_the_users_mistake(train, test, message):
    with pytest.raises(SettingError, match=message):
        prepare(CONFIG, Source(train, test, seed=0), checkpoint=None)


class Counts(nn.Linear):
    def forward(self, value):
        self.passes = getattr(self, "passes", 0) + 1
        return super().forward(value)


def counting(num_classes):
    return nn.Sequential(nn.Linear(6, 6), Counts(6, num_classes))


def test_a_job_that_cannot_be_repeated_is_refused_or_known_as_such():
    source = Source(samples(40), samples(10), seed=0)
    config = replace(
        CONFIG, model={"_target_": "tests.run.test_prepare.counting", "num_classes": 3}
    )
    with pytest.raises(
        SettingError,
        match=r"^model: block 1 \(Counts\) keeps passes outside of parameters and buffers",
    ):
        prepare(config, source, checkpoint=None)
    job = prepare(
        replace(config, trust=replace(config.trust, repeatable="warn")), source, checkpoint=None
    )
    assert job.windows and not job.audits
    assert job.problem.startswith("model: block 1 (Counts) keeps passes")
    assert prepare(CONFIG, source, checkpoint=None).audits


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model=mlp", "attack=label_flip", "attack.num_classes=11"],
            "attack.num_classes=11: the data has 10 cl",
        ),
        (
            ["model=mlp", "attack=label_flip", "attack.num_classes=9"],
            "attack.num_classes=9: the data has 10 cla",
        ),
        (
            ["model=mlp", "attack=backdoor", "attack.target=10"],
            "attack.target=10: the model tells 10 classes",
        ),
        (
            ["attack=label_flip", "task=language", "data=text", "data.context=8", "model=gpt"],
            "attack.num_classes=10: the data has no classes",
        ),
        (
            ["model=mlp", f"attack._target_={__name__}.OfOld"],
            f"attack={__name__}.OfOld cannot be used: OfOld.check() missing 1 required",
        ),
    ],
)
def test_an_attack_on_labels_that_the_job_does_not_have_is_refused(
    overrides: list[str], message: str
) -> None:
    config = settings.load(
        ["topology.replicas=2", "topology.stages=1", "attack.replicas=[1]", *overrides]
    )
    with pytest.raises(SettingError) as caught:
        prepare(config, load_source(config), None)
    assert message in str(caught.value)
