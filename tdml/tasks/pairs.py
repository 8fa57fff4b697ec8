"""Samples that are pairs of a tensor and what is to be said of it, and what is said of one that is
something else."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

_LARGEST = torch.iinfo(torch.int64).max
_SHOWN = 40  # characters of a label
_JOINED = (
    "a model that takes several tensors is given them as one, which its first block takes apart "
    "(docs/your-task.md)"
)


def paired(
    samples: Any, target: str, check: Callable[[Any], None] = lambda _: None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets of some samples, stacked. A tuple is what the data set has stacked
    already.

    Args:
        target: what the second is called, for the message.
        check: of each of these; may raise as this does.

    Raises:
        TypeError, ValueError, RuntimeError: one is no pair, or its input no tensor.
    """
    if isinstance(samples, tuple):
        check_batch(samples, 2)
        return samples
    pairs = [_pair(sample, target) for sample in samples]
    for _, second in pairs:
        check(second)
    return _inputs([pair[0] for pair in pairs]), _targets([pair[1] for pair in pairs], target)


def check_batch(samples: tuple, parts: int) -> None:
    """Of a batch that the data set has stacked.

    Raises:
        TypeError: it is no tuple of so many tensors.
    """
    if len(samples) != parts or not all(map(torch.is_tensor, samples)):
        raise TypeError(
            f"__getitems__ returns a tuple of {len(samples)}: return a list of samples, or a batch "
            f"as a tuple of {parts} tensor{'s' * (parts > 1)}"
        )


def check_class(label: Any) -> None:
    """Raises ValueError: it is no whole number from 0."""
    if isinstance(label, torch.Tensor | np.ndarray):
        numbers = label.reshape(-1).tolist()
        label = numbers[0] if len(numbers) == 1 else numbers
    try:
        whole = bool(0 <= int(label) == label <= _LARGEST)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        whole = False
    if not whole:
        raise ValueError(
            f"its label {_shown(label)} is no class, which is a whole number from 0: number "
            "the classes from 0, of several numbers return one, such as int(label.argmax()), and "
            "leave out samples without a class (for numbers: task=regression; for classes in a "
            "table: data.classes=true)"
        )


def _shown(label: Any) -> str:
    """A word in quotes: it may be a number's."""
    return (repr(label) if isinstance(label, str) else str(label))[:_SHOWN]


def _pair(sample: Any, target: str) -> tuple[Any, Any]:
    if isinstance(sample, tuple | list) and len(sample) == 2:
        return sample[0], sample[1]
    parts = f" of {len(sample)}" if isinstance(sample, tuple | list | Mapping) else ""
    raise TypeError(
        f"it is a {type(sample).__name__}{parts}: return a tuple of two, a tensor and its {target} "
        "(token ids alone are for task=language; weights and masks of samples are not used; "
        f"{_JOINED})"
    )


def _targets(targets: list[Any], target: str) -> torch.Tensor:
    return _batch(targets, target, "a number, or a tensor, such as torch.tensor([0.5, 2.0])")


def _inputs(inputs: list[Any]) -> torch.Tensor:
    parts = inputs[0].values() if isinstance(inputs[0], Mapping) else inputs[0]
    if isinstance(inputs[0], tuple | list | Mapping) and all(map(torch.is_tensor, parts)):
        raise TypeError(f"its input is a {type(inputs[0]).__name__} of tensors: {_JOINED}")
    advice = (
        "a tensor, such as with torch.tensor, or of an image with torchvision.transforms.ToTensor()"
    )
    return _batch(inputs, "input", advice)


def _batch(values: list[Any], part: str, advice: str) -> torch.Tensor:
    try:
        batch = default_collate(values)
    except TypeError:
        batch = None  # nothing that torch makes a batch of
    except ValueError as error:
        if "Overflow" not in str(error):
            raise
        raise ValueError(
            f"its {part} is a whole number beyond ±{_LARGEST}: return it as a float"
        ) from error
    if not isinstance(batch, torch.Tensor):
        raise TypeError(f"its {part} is a {type(values[0]).__name__}: return {advice}")
    return batch
