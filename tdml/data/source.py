"""A job's data on one machine: loaded once, read by index, with every random choice seeded."""

from collections.abc import Sequence, Sized
from contextlib import AbstractContextManager
from functools import cached_property

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from tdml.common.seeds import derive, seeded
from tdml.data.labels import kept_labels, labels_of
from tdml.data.origin import places_of
from tdml.data.sample import Form, MapStyle, look
from tdml.data.sample_weights import read_sample_weights
from tdml.errors import SettingError, one_line, refusing, running_on
from tdml.settings.schema import Config
from tdml.settings.targets import instantiate, made
from tdml.tasks import Classification, Language, Task
from tdml.tasks.objective import task_of

CLASSIFICATION = Classification()
_NAMED = 3  # samples
# settings of the group that are not the source's own
_OURS = {"partition", "shares", "alpha", "weights"}


class Source:
    """Training, validation and test samples.

    The test set is split once, by the job's seed: one half judges candidates in cross-checks, the
    other half is only reported. With `validation` that judges instead, and all of the test set is
    only reported. `task` makes batches of samples. `weights` (n,) float32 are what each training
    sample counts in the loss, beside what the task says; None: all alike. `alone`: no other rank
    holds these samples.
    """

    def __init__(
        self,
        train: MapStyle,
        test: MapStyle,
        seed: int,
        task: Task = CLASSIFICATION,
        validation: MapStyle | None = None,
        weights: torch.Tensor | None = None,
        alone: bool = False,
    ) -> None:
        self.train, self.test, self._seed, self.task = train, test, seed, task
        self.validation, self.weights, self.alone = validation, weights, alone
        order = np.random.default_rng(derive(seed, "validation and test")).permutation(len(test))
        self.halves = {"validation": order[: len(order) // 2], "test": order[len(order) // 2 :]}
        if validation is not None:
            self.halves = {"validation": np.arange(len(validation)), "test": np.arange(len(test))}

    def size(self, split: str) -> int:
        """Samples in "validation" or "test"."""
        return len(self.halves[split])

    @cached_property
    def strata(self) -> list[int] | None:
        """Classes of all training samples, where the task has any. Few samples are read where the
        data set keeps them, as `targets` say.

        Raises:
            SettingError: one cannot be read, or is nothing for the task.
        """
        return self._strata(self.train, "training")

    @cached_property
    def test_strata(self) -> list[int] | None:
        """As `strata`, of the test samples, both halves."""
        return self._strata(self.test, "test")

    @cached_property
    def validation_strata(self) -> list[int] | None:
        """As `strata`, of validation samples that are none of the test set's; [] without these."""
        return [] if self.validation is None else self._strata(self.validation, "validation")

    @cached_property
    def kept_strata(self) -> tuple[list[int] | None, list[int] | None]:
        """As `strata` and `test_strata`; None where every sample would have to be read for them."""
        return (
            self._strata(self.train, "training", every=False),
            self._strata(self.test, "test", every=False),
        )

    @cached_property
    def form(self) -> Form:
        """That of the first training sample, which all others must have. Raises like `strata`."""
        with self._seeded():
            return look(self.train, 0, "training", self.task)[0]

    def training_batch(
        self, indices: Sequence[int], seed: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Training samples, with random augmentation decided by `seed` alone.

        Raises:
            SettingError: names a sample that cannot be read, or whose input has another form than
                the first.
        """
        return self._fetch(self.train, "training", indices, seed)

    def held_out_batch(
        self, split: str, positions: Sequence[int], seed: int = 0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Samples of the validation or the test half, by their positions in it. `seed` decides what
        is drawn, such as which tokens are hidden. Raises like `training_batch`."""
        if split == "validation" and self.validation is not None:
            return self._fetch(self.validation, split, positions, seed)
        return self.test_batch(self.halves[split][positions].tolist(), seed)

    def test_batch(self, indices: Sequence[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Samples of both halves, by their index in the test set. Raises like `training_batch`."""
        return self._fetch(self.test, "test", indices, seed)

    def _strata(self, dataset: MapStyle, split: str, every: bool = True) -> list[int] | None:
        with self._seeded():
            if self._stratum(dataset, 0, split) is None:
                return None

            def read(index: int) -> int:
                stratum = self._stratum(dataset, index, split)
                if stratum is None:
                    raise SettingError(
                        f"task: strata() of {split} sample {index} is None, and of sample 0 a "
                        "class: give one for each sample, or None for all"
                    )
                return stratum

            find = labels_of if every else kept_labels
            return find(dataset, read, derive(self._seed, "labels"))

    def _stratum(self, dataset: MapStyle, index: int, split: str) -> int | None:
        target, wanted = self._look(dataset, index, split), "one class each, (k,), or None"
        with refusing(f"task: strata() of {split} sample {index} fails, which gives {wanted}"):
            strata = self.task.strata(target)
            return None if strata is None else int(strata[0])

    def _fetch(
        self, dataset: MapStyle, split: str, indices: Sequence[int], seed: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        try:
            inputs, targets = fetch(dataset, indices, seed, self.task)
            if not len(inputs) == len(targets) == len(indices):
                raise TypeError(
                    f"collate() gives {len(inputs)} inputs and {len(targets)} targets of "
                    f"{len(indices)} samples"
                )
            if Form.of(inputs) != self.form:
                raise TypeError(
                    f"several {split} samples are {Form.of(inputs)} each, one alone {self.form}"
                )
        except Exception as error:
            with seeded(seed, host_only=True):
                for index in indices:
                    self._look(dataset, int(index), split)  # names the one that is to blame
            raise SettingError(
                f"data: {split} samples {_listed(indices)} cannot be made a batch of, though each "
                f"alone can be read: {type(error).__name__}: {one_line(error)}"
            ) from error
        return inputs, targets

    def _look(self, dataset: MapStyle, index: int, split: str) -> torch.Tensor:
        """A sample's target (1, …), where its input is like all others."""
        form, target = look(dataset, index, split, self.task)
        if form != self.form:
            raise SettingError(
                f"data: {split} sample {index}{places_of(dataset, [index])} is {form}, but "
                f"training sample 0 is {self.form}: have the dataset bring all to one form"
                f"{self._filled_up}"
            )
        return target

    @property
    def _filled_up(self) -> str:
        """What else to do where samples may differ in their length."""
        of_tokens = getattr(self.task, "sample", "") == Language.sample
        return ", or give task.context, to which shorter texts are filled up" if of_tokens else ""

    def _seeded(self) -> AbstractContextManager[None]:
        return seeded(derive(self._seed, "looks"), host_only=True)


def load_source(config: Config) -> Source:
    """The data of a job, with its task. Raises as `load` and `task_of`."""
    return load(config.data, config.seed, task_of(config))


def load(settings: dict, seed: int, task: Task = CLASSIFICATION) -> Source:
    """Make the datasets that `data` names: what they draw at random follows from the job's seed, on
    every rank alike.

    Raises:
        SettingError: the `_target_` cannot be found, fails, or returns something else than two
            datasets, or three; or the file of `data.weights` does not fit them.
    """
    own = {key: value for key, value in settings.items() if key not in _OURS}
    with seeded(derive(seed, "data")):
        datasets = made("data", own["_target_"], instantiate, own)
    with refusing(f"data._target_={own['_target_']}: a dataset does not say how long it is"):
        fault = _fault(datasets)
    if fault:
        raise SettingError(
            f"data._target_={settings['_target_']} must return a training and a test dataset with "
            f"a length, as a tuple: {fault}"
        )
    train, test, validation = (*datasets, None)[:3]
    if len(train) == 0 or len(test) < 2 or (validation is not None and len(validation) == 0):
        more = "" if validation is None else f", and {len(validation)} for validation"
        raise SettingError(
            f"data={settings['_target_']} is too small: it needs a training sample and two test "
            f"samples or more, and has {len(train)} and {len(test)}{more}"
        )
    given = settings.get("weights")
    weights = read_sample_weights(given, train) if isinstance(given, str) else None
    alone = settings.get("partition") == "own"
    return Source(train, test, seed, task, validation, weights, alone)


def _listed(indices: Sequence[int]) -> str:
    """The first few of them."""
    return ", ".join(str(int(i)) for i in indices[:_NAMED]) + ", …" * (len(indices) > _NAMED)


def _fault(datasets: object) -> str:
    """What is wrong with what a data function has returned; "" for two map-style datasets."""
    if not isinstance(datasets, tuple | list) or len(datasets) not in (2, 3):
        several = f" of {len(datasets)}" if isinstance(datasets, tuple | list) else ""
        return f"it returned a {type(datasets).__name__}{several}"
    given = [dataset for place, dataset in enumerate(datasets) if place < 2 or dataset is not None]
    odd = [type(dataset).__name__ for dataset in given if not _is_map_style(dataset)]
    return (
        f"it returned a {odd[0]}, which is not read by index: return one that has __len__ and "
        "__getitem__, and of a DataLoader its dataset"
        if odd
        else ""
    )


def _is_map_style(dataset: object) -> bool:
    if isinstance(dataset, DataLoader | IterableDataset) or not hasattr(dataset, "__getitem__"):
        return False
    try:
        return isinstance(dataset, Sized) and len(dataset) >= 0
    except (TypeError, NotImplementedError):
        return False


def fetch(
    dataset: MapStyle, indices: Sequence[int], seed: int, task: Task
) -> tuple[torch.Tensor, torch.Tensor]:
    """Some samples as inputs and targets; whatever the dataset and the task draw at random is
    decided by `seed`.

    Python's, numpy's and torch's global generators are seeded for the call and put back after it.
    """
    indices = [int(i) for i in indices]
    with seeded(seed, host_only=True), running_on():
        several = getattr(dataset, "__getitems__", None)
        samples = several(indices) if several else [dataset[i] for i in indices]
        inputs, targets = task.collate(samples)
    # what a network has computed for a data set may still ask for gradients
    return inputs.detach(), targets.detach()
