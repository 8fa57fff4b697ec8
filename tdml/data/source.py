"""A job's data on one machine: loaded once, read by index, with every random choice seeded."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from hydra.utils import instantiate
from torch.utils.data import Dataset, default_collate

from tdml.errors import SettingError, cause, one_line
from tdml.seeds import derive, seeded

_OURS = {"partition", "alpha"}  # settings of the group that are not the source's own


class Source:
    """Training, validation and test samples.

    The test set is split once, by the job's seed: one half judges candidates in cross-checks, the other
    half is only reported.
    """

    def __init__(self, train: Dataset, test: Dataset, seed: int) -> None:
        self.train, self.test = train, test
        order = np.random.default_rng(derive(seed, "validation and test")).permutation(len(test))
        self.halves = {"validation": order[: len(order) // 2], "test": order[len(order) // 2 :]}

    def size(self, split: str) -> int:
        """Samples in "validation" or "test"."""
        return len(self.halves[split])

    @cached_property
    def labels(self) -> list[int]:
        """Labels of all training samples: `targets` of the dataset if it has them, else read one by one.

        Raises:
            SettingError: one cannot be read, or is no class.
        """
        return _labels(self.train, "training")

    @cached_property
    def test_labels(self) -> list[int]:
        """As `labels`, of the test samples, both halves."""
        return _labels(self.test, "test")

    @property
    def classes(self) -> int:
        """Labels of training and test samples are below this. Raises like `labels`."""
        return 1 + max(*self.labels, *self.test_labels)

    def training_batch(self, indices: Sequence[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Training samples, with random augmentation decided by `seed` alone."""
        return fetch(self.train, indices, seed)

    def held_out_batch(self, split: str, positions: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Samples of the validation or the test half, by their positions in it."""
        return fetch(self.test, self.halves[split][positions], seed=0)


def load(settings: dict, seed: int) -> Source:
    """Make the datasets that `data` names: what they draw at random follows from the job's seed, on every rank alike.

    Raises:
        SettingError: the `_target_` cannot be found, fails, or returns something else than two datasets.
    """
    try:
        with seeded(derive(seed, "data")):
            datasets = instantiate({key: value for key, value in settings.items() if key not in _OURS})
    except SettingError:
        raise
    except Exception as error:
        inner = error.__cause__
        if isinstance(inner, SettingError):  # Hydra wraps what the target raises
            raise inner from error
        raise SettingError(f"data={settings['_target_']} cannot be loaded: {cause(error, 'data')}") from error
    if not isinstance(datasets, tuple | list) or len(datasets) != 2 or not all(map(_is_map_style, datasets)):
        raise SettingError(
            f"data._target_={settings['_target_']} must return a training and a test dataset with a length"
        )
    train, test = datasets
    if len(train) == 0 or len(test) < 2:
        raise SettingError(
            f"data={settings['_target_']} is empty: it needs training samples and two test samples or more"
        )
    return Source(train, test, seed)


def _is_map_style(dataset: object) -> bool:
    return hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")


def _labels(dataset: Dataset, split: str) -> list[int]:
    targets, labels = getattr(dataset, "targets", None), []
    for i in range(len(dataset)):
        try:
            labels.append(_class(dataset[i][1] if targets is None else targets[i]))
        except Exception as error:
            raise SettingError(
                f"data: {split} sample {i} cannot be read as (tensor, label): {one_line(error)}"
            ) from error
    return labels


def _class(label: object) -> int:
    number = int(label)
    if number != label or number < 0:
        raise ValueError(f"its label {label} is no class, which is a whole number from 0")
    return number


def fetch(dataset: Dataset, indices: Sequence[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Some samples as (inputs, int64 labels); whatever the dataset draws at random is decided by `seed`.

    Python's, numpy's and torch's global generators are seeded for the call and put back after it.
    """
    indices = [int(i) for i in indices]
    with seeded(seed, host_only=True):
        several = getattr(dataset, "__getitems__", None)
        samples = several(indices) if several else [dataset[i] for i in indices]
    inputs, labels = samples if isinstance(samples, tuple) else default_collate(samples)
    return inputs, labels.long()
