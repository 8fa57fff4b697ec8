"""Samples that are pairs of a tensor and what is to be said of it, and what is said of one that is
something else."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

_LARGEST = torch.iinfo(torch.int64).max
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
    """
    Raises:
        TypeError, ValueError: it is no whole number from 0.
    """
    if isinstance(label, str):
        raise TypeError(
            f"its label is the text {label!r}: number the classes from 0, and return the number"
        )
    numbers = label.numel() if isinstance(label, torch.Tensor) else np.size(label)
    if numbers > 1:
        raise TypeError(
            f"its label is {numbers} numbers: return its class, such as int(label.argmax()); "
            "where they all count, name a task of your own by task._target_"
        )
    try:
        label = label.item() if isinstance(label, torch.Tensor | np.ndarray) else label
        number = int(label)
        whole = bool(number == label)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        whole = False
    if not whole:
        raise ValueError(
            f"its label {label} is no class, which is a whole number from 0 (for numbers: "
            "task=regression; for classes in a table: data.classes=true)"
        )
    if number > _LARGEST:
        raise ValueError(f"its label {label} is larger than any class: number the classes from 0")
    if number < 0:
        raise ValueError(
            f"its label {label} is no class, which is a whole number from 0: number classes from "
            "0, and leave out samples without one"
        )


def _pair(sample: Any, target: str) -> tuple[Any, Any]:
    if isinstance(sample, Mapping):
        names = [repr(name) for name in sample]
        values = ", ".join(f"sample[{name}]" for name in names[:2])
        raise TypeError(f"it is a dict of {', '.join(names)}: return a tuple, such as ({values})")
    if isinstance(sample, torch.Tensor | np.ndarray):
        tokens = ", or for token ids take task=language" if _is_ids(sample) else ""
        raise TypeError(f"it is a tensor alone: return a tuple of it and its {target}{tokens}")
    if not isinstance(sample, tuple | list):
        raise TypeError(
            f"it is a {type(sample).__name__}: return a tuple of a tensor and its {target}"
        )
    if len(sample) != 2:
        unused = ", for weights and masks of samples are not used" if len(sample) > 2 else ""
        joined = f"; {_JOINED}" if all(map(torch.is_tensor, sample[:2])) else ""
        raise TypeError(
            f"it has {len(sample)} parts: return two, a tensor and its {target}{unused}{joined}"
        )
    return sample[0], sample[1]


def _targets(targets: list[Any], target: str) -> torch.Tensor:
    return _batch(targets, target, "a number, or a tensor, such as torch.tensor([0.5, 2.0])")


def _is_ids(sample: torch.Tensor | np.ndarray) -> bool:
    return sample.ndim == 1 and not torch.as_tensor(sample).is_floating_point()


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
