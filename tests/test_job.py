import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from tdml import config as settings
from tdml.data.source import Source
from tdml.errors import SettingError
from tdml.job import prepare

CONFIG = settings.load(["model._target_=tests.test_job.net", "topology.replicas=2", "train.batch_size=4"])


def net(num_classes):
    return nn.Sequential(nn.Linear(6, 6), nn.Linear(6, num_classes))


def samples(count, shape=(6,), dtype=torch.float32, labels=None):
    classes = torch.arange(count) % 3 if labels is None else labels
    return TensorDataset(torch.zeros(count, *shape, dtype=dtype), classes)


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


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (Lists(*samples(40).tensors), samples(10), "data: the first samples cannot be read as .tensor, label"),
        (Growing(*samples(40).tensors), samples(10), "data: the first samples cannot be read as .tensor, label"),
        (
            samples(40, labels=torch.zeros(40, 1, dtype=torch.int64)),
            samples(10),
            r"data: 2 samples have labels of the shape \(2, 1\)",
        ),
        (samples(40), samples(10, shape=(2, 3)), r"data: a training sample is a tensor \(6,\) .* \(2, 3\)"),
        (samples(40), samples(10, dtype=torch.float64), "torch.float32, a test sample .* torch.float64"),
        (samples(40, dtype=torch.float64), samples(10, dtype=torch.float64), "model: block 0 fails on the first"),
    ],
    ids=["lists", "growing", "label vectors", "test shape", "test type", "type"],
)
def test_samples_that_do_not_fit_are_the_users_mistake(train, test, message):
    with pytest.raises(SettingError, match=message):
        prepare(CONFIG, Source(train, test, seed=0), checkpoint=None)
