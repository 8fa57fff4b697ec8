"""The labels of a whole data set, of which as few samples as possible are read."""

import time
from collections.abc import Callable, Sized

import numpy as np
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from tdml.data.sample import MapStyle
from tdml.errors import complain

_LONG_S = 10.0  # from which somebody wonders what takes so long
_FEW = 1_000  # samples, which every rank may read
_TIMED = 8  # samples
_COMPARED = 64  # samples, and classes of one sample each


def labels_of(dataset: MapStyle, read: Callable[[int], int], seed: int) -> list[int]:
    """The class of every sample.

    `read` gives that of one sample and decides. What a data set keeps beside its samples, such as
    `targets`, is a short cut. It is compared first, on samples of different classes and others
    drawn by `seed`, and left alone where it differs: the samples are in another order, or their
    labels are changed when they are read.
    """
    kept = kept_labels(dataset, read, seed)
    if kept is not None:
        return kept
    some = min(_TIMED, len(dataset))
    start, labels = time.monotonic(), [read(i) for i in range(some)]
    seconds = (time.monotonic() - start) / max(some, 1) * len(dataset)
    if seconds > _LONG_S:
        complain(
            f"tdml: reading the class of each of {len(dataset):,} samples, for about {seconds:.0f} "
            "s: a data set that keeps them as `targets` saves that"
        )
    return labels + [read(i) for i in range(some, len(dataset))]


def kept_labels(dataset: MapStyle, read: Callable[[int], int], seed: int) -> list[int] | None:
    """As `labels_of`, where a data set keeps them or is small; None where many samples would have
    to be read."""
    try:
        kept = _kept(dataset)
    except Exception:  # whatever a data set of somebody else's keeps under these names
        kept = None
    if kept is not None and all(kept[i] == read(i) for i in _some_of_many_classes(kept, seed)):
        return kept.tolist()
    return [read(i) for i in range(len(dataset))] if len(dataset) <= _FEW else None


def _kept(dataset: object) -> np.ndarray | None:
    """The labels that a data set, or what it is made of, keeps beside its samples: (n,) int64, if
    there are any."""
    targets = getattr(dataset, "targets", None)
    if targets is not None and isinstance(dataset, Sized):
        change = getattr(dataset, "target_transform", None)  # torchvision's name for it
        return _whole_numbers(targets if change is None else [*map(change, targets)], len(dataset))
    if isinstance(dataset, TensorDataset):
        return (
            _whole_numbers(dataset.tensors[1], len(dataset)) if len(dataset.tensors) == 2 else None
        )
    if isinstance(dataset, Subset):
        inner = _kept(dataset.dataset)
        return None if inner is None else inner[np.asarray(dataset.indices, dtype=np.int64)]
    if isinstance(dataset, ConcatDataset):
        parts = [part for part in map(_kept, dataset.datasets) if part is not None]
        return np.concatenate(parts) if len(parts) == len(dataset.datasets) else None
    return None


def _whole_numbers(values: object, count: int) -> np.ndarray | None:
    array = np.asarray(values)
    with np.errstate(invalid="ignore"):
        numbers = array.astype(np.int64)
    return numbers if array.shape == (count,) and np.array_equal(array, numbers) else None


def _some_of_many_classes(labels: np.ndarray, seed: int) -> list[int]:
    order = np.random.default_rng(seed).permutation(len(labels))
    _, first = np.unique(labels[order], return_index=True)
    return sorted({*order[first[:_COMPARED]].tolist(), *order[:_COMPARED].tolist()})
