"""One sample: the pair that it must be, and what is said of one that is something else."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from tdml.errors import SettingError, one_line


@dataclass(frozen=True)
class Form:
    """What all inputs of a job have in common."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"a tensor {self.shape} of {self.dtype}"

    @classmethod
    def of(cls, batch: torch.Tensor) -> "Form":
        """That of each input of a batch."""
        return cls(tuple(batch.shape[1:]), batch.dtype)


def look(dataset: Dataset, index: int, split: str) -> tuple[Form, int]:
    """The form of a sample's input, and its class.

    Args:
        split: "training" or "test", for the message.

    Raises:
        SettingError: it cannot be read, or is no pair of a tensor and a class.
    """
    try:
        sample = dataset[index]
    except Exception as error:
        text = f"data: {split} sample {index} cannot be read: {type(error).__name__}: {one_line(error)}"
        raise SettingError(text) from error
    try:
        inputs, label = _pair(sample)
        return _form(inputs), _class(label)
    except (TypeError, ValueError, RuntimeError) as error:
        text = f"data: {split} sample {index} cannot be read as (tensor, label): {one_line(error)}"
        raise SettingError(text) from error


def advice(dtype: torch.dtype) -> str:
    """What to do where a model does not take inputs of this type; "" for float32, which is the usual one."""
    if dtype == torch.float32:
        return ""
    if dtype == torch.uint8:
        how = "scale them in the dataset, such as image.float() / 255"
    elif dtype.is_floating_point:
        how = "convert them in the dataset, such as inputs.float()"
    else:
        how = "a layer that is no embedding takes floats, such as inputs.float() in the dataset"
    return f": the inputs are {dtype}, and the weights torch.float32: {how}"


def _pair(sample: object) -> tuple[object, object]:
    if isinstance(sample, Mapping):
        names = [repr(name) for name in sample]
        values = ", ".join(f"sample[{name}]" for name in names[:2])
        raise TypeError(f"it is a dict of {', '.join(names)}: return a tuple, such as ({values})")
    if isinstance(sample, torch.Tensor | np.ndarray):
        raise TypeError("it is a tensor alone: return a tuple of it and its label")
    if not isinstance(sample, tuple | list):
        raise TypeError(f"it is a {type(sample).__name__}: return a tuple of a tensor and its label")
    if len(sample) != 2:
        unused = ", for weights and masks of samples are not used" if len(sample) > 2 else ""
        raise TypeError(f"it has {len(sample)} parts: return two, a tensor and its label{unused}")
    return sample[0], sample[1]


def _form(inputs: object) -> Form:
    try:
        batch = default_collate([inputs])
    except TypeError:
        batch = None  # nothing that torch makes a batch of
    if not isinstance(batch, torch.Tensor):
        raise TypeError(
            f"its input is a {type(inputs).__name__}: return a tensor, such as with torch.tensor, or of an image with "
            "torchvision.transforms.ToTensor()"
        )
    return Form.of(batch)


def _class(label: object) -> int:
    if isinstance(label, str):
        raise TypeError(f"its label is the text {label!r}: number the classes from 0, and return the number")
    numbers = label.numel() if isinstance(label, torch.Tensor) else np.size(label)
    if numbers > 1:
        raise TypeError(f"its label is a vector of {numbers} numbers: return its class, such as int(label.argmax())")
    try:
        number = int(label)
        whole = bool(number == label)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        whole = False
    if not whole:
        raise ValueError(f"its label {label} is no class, which is a whole number from 0")
    if number < 0:
        raise ValueError(f"its label {label} is no class, which is a whole number from 0: leave such samples out")
    return number
