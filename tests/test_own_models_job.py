"""A user's model with all that is awkward to build and to cut trains as in one process."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

from tdml import config as settings
from tdml.data import source as data
from tdml.data.order import assigned_batches
from tdml.data.partition import partition
from tdml.models.whole import initial_model
from tests.jobs import run_job

HERE = "tests.test_own_models_job"


class Embed(nn.Module):
    """Sparse gradients; looks at values; its constructor read some; returns a transposed view."""

    def __init__(self, table, scale):
        super().__init__()
        self.scale, self.embedding = scale, nn.Embedding(17, 8, sparse=True)
        self.register_buffer("table", table, persistent=False)

    def forward(self, tokens):
        value = self.embedding(tokens if tokens.max() > 1 else 16 * tokens)
        return (self.scale * value * self.table).transpose(1, 2)


class Recurrent(nn.Module):
    """Works in place on what it gets; returns a view of its states; uses the table of the first
    block."""

    def __init__(self, table):
        super().__init__()
        self.lstm = nn.LSTM(64, 8)
        self.register_buffer("table", table, persistent=False)

    def forward(self, value):
        return self.lstm(value.mul_(2))[0].transpose(0, 1) * self.table


class Narrow(nn.Linear):
    """Mixed precision inside: what crosses the next border is bfloat16."""

    def forward(self, value):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(value)


class Head(nn.Module):
    """Keeps a running mean by putting a new tensor in its place."""

    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(16, classes)
        self.register_buffer("mean", torch.zeros(16))

    def forward(self, value):
        value = value.float().mean(0)
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * value.detach().mean(0)
        return self.head(value - self.mean)


def net(num_classes):
    table = torch.from_numpy(np.linspace(0.5, 1.5, 8, dtype=np.float32))
    scale = torch.linspace(0, 2, 3)[1].item()
    return nn.Sequential(Embed(table, scale), Recurrent(table), Narrow(8, 16), Head(num_classes))


class LeftOut(nn.Linear):
    """Stochastic depth (Huang et al., arXiv 1603.09382): at random nothing of it is trained."""

    def forward(self, value):
        leave_out = self.training and torch.rand(()) < 0.5
        return value if leave_out else value + super().forward(value).relu()


def shallow(num_classes):
    return nn.Sequential(
        nn.Flatten(), LeftOut(192, 192), LeftOut(192, 192), nn.Linear(192, num_classes)
    )


def tokens():
    images, labels = load_digits(return_X_y=True)
    samples = TensorDataset(torch.from_numpy(images).long(), torch.from_numpy(labels).long())
    return torch.utils.data.Subset(samples, range(1437)), torch.utils.data.Subset(
        samples, range(1437, 1797)
    )


def test_it_trains_in_four_stages_as_in_one_process(tmp_path: Path) -> None:
    overrides = [
        f"model._target_={HERE}.net", f"data._target_={HERE}.tokens", "~data.size",
        "topology.replicas=1", "topology.stages=4", "topology.microbatches=4", "sync.local_steps=3",
        "rounds=1",
    ]  # fmt: skip
    result = run_job(tmp_path / "run", 5, *overrides)
    assert result.statuses == [0] * 5, result.output
    config = settings.load(overrides)
    source, model = data.load(config.data, config.seed), initial_model(config.model, config.seed)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(
        model.parameters(), lr=config.train.lr, momentum=config.train.momentum
    )
    share = partition(
        "iid", None, len(source.train), 1, config.train.batch_size, config.seed, alpha=1.0
    )[0]
    for batch in assigned_batches(share, config.train.batch_size, 3, config.seed, 1, 0):
        inputs, labels = source.training_batch(batch, seed=0)
        optimizer.zero_grad()
        for micro, targets in zip(inputs.chunk(4), labels.chunk(4), strict=True):
            (F.cross_entropy(model(micro), targets) / 4).backward()
        optimizer.step()
    assert result.model.keys() == start.keys()
    for name, value in model.state_dict().items():
        assert not torch.equal(value, start[name]), name
        # A contiguous copy may be multiplied in another order than a view, and bfloat16 rounds that
        # up.
        torch.testing.assert_close(
            result.model[name] - start[name], value - start[name], rtol=0.01, atol=1e-5
        )


@pytest.mark.slow
def test_a_stage_of_which_nothing_is_trained_in_some_steps(tmp_path: Path) -> None:
    """What comes back to it is received and logged as ever: nobody is accused, and all is found
    again."""
    result = run_job(
        tmp_path / "run", 5, f"model._target_={HERE}.shallow", "data.size=8",
        "topology.replicas=2", "topology.stages=2", "topology.microbatches=2", "topology.cuts=[3]",
        "sync.local_steps=12", "rounds=2", "trust.budget=1", "train.batch_size=32",
    )  # fmt: skip
    assert result.statuses == [0] * 5, result.output
    for line in result.rounds:
        assert [made["verdict"] for made in line["replicas"].values()] == ["honest"] * 2
        assert line["spent"] > 0
    assert result.accuracy > 0.3


def test_model_loads_into_the_unsplit_model(tmp_path: Path) -> None:
    """ResNet-18 in three stages: the file is torchvision's own state dict."""
    result = run_job(
        tmp_path / "run",
        4,
        "model=resnet18",
        "data.size=8",
        "topology.replicas=1",
        "topology.stages=3",
        "sync.local_steps=1",
        "rounds=1",
        "train.batch_size=6",
        "topology.microbatches=3",
    )
    from tdml.common.vision import torchvision

    model = torchvision().models.resnet18(num_classes=10)
    model.load_state_dict(result.model, strict=True)
    assert result.model["bn1.num_batches_tracked"] == 3
    assert result.model["bn1.num_batches_tracked"].dtype == torch.int64
