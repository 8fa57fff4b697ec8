"""What a job's data hold, in a few words, so that ranks can tell whether they hold the same."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from tdml.common.digest import digest
from tdml.common.seeds import derive
from tdml.data.source import Source

_READ = 64  # samples of each split whose inputs are compared


@dataclass(frozen=True)
class Contents:
    """Digests of a rank's data. Labels are those of all samples, if the task has any and the data
    set keeps them; inputs, and what is to be said of them, those of a sample of samples, which the
    job's seed draws."""

    training_samples: int
    test_samples: int
    training_labels: str
    test_labels: str
    training_inputs: str
    test_inputs: str
    sample_weights: str = ""
    form: str = ""  # of a sample, in words
    largest_label: int = -1  # of the training samples, where labels are known


def contents_of(source: Source, seed: int, read_before: bool = False) -> Contents:
    """What the training and the test data hold.

    Args:
        seed: of the job.
        read_before: whether the samples are read with another seed before: that changes what a data
            set holds which keeps what was drawn when it first read a sample.

    Raises:
        SettingError: a sample cannot be read, or is not like the others.
    """
    labels, test_labels = source.kept_strata
    inputs = partial(_inputs, read_before=read_before)
    return Contents(
        len(source.train),
        len(source.test),
        _strata(labels),
        _strata(test_labels),
        inputs(source.training_batch, len(source.train), derive(seed, "training contents")),
        inputs(source.test_batch, len(source.test), derive(seed, "test contents")),
        "" if source.weights is None else digest(source.weights).hex(),
        form_of(source),
        max(labels) if labels else -1,
    )


def form_of(source: Source) -> str:
    """Of a sample, in words: its shape, and its columns if the data set names some."""
    columns = getattr(source.train, "columns", "")
    return (
        f"{source.form} of {columns}" if isinstance(columns, str) and columns else f"{source.form}"
    )


def difference(one: Contents, other: Contents) -> str:
    """What two ranks' data differ in first, such as "test labels"; "" if in nothing."""
    for name, value in vars(one).items():
        theirs = getattr(other, name)
        if value != theirs:
            counts = f" ({value} and {theirs})" if isinstance(value, int) else ""
            return name.replace("_", " ") + counts
    return ""


def _strata(labels: list[int] | None) -> str:
    if labels is None:
        return ""
    return hashlib.sha256(np.asarray(labels, dtype=np.int64).tobytes()).hexdigest()


def _inputs(read: Callable, count: int, seed: int, read_before: bool) -> str:
    """With their augmentation, which must be the same everywhere too."""
    chosen = np.random.default_rng(seed).choice(count, min(count, _READ), replace=False)
    if read_before:
        read(chosen, seed + 1)
    inputs, targets = read(chosen, seed)
    return hashlib.sha256(digest(inputs) + digest(targets)).hexdigest()
