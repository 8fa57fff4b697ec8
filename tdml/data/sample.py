"""The form of a sample, and what is said of one that cannot be read."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch

from tdml.common.dtypes import travels
from tdml.data.origin import places_of
from tdml.errors import SettingError, one_line, refusing, running_on
from tdml.tasks.base import Task


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


class MapStyle(Protocol):
    """A data set that is read by index."""

    def __len__(self) -> int:
        """How many samples."""

    def __getitem__(self, index: int) -> Any:
        """One of them, whatever the task makes batches of."""


def look(dataset: MapStyle, index: int, split: str, task: Task) -> tuple[Form, torch.Tensor]:
    """The form of a sample's input, and its target (1, …).

    Args:
        split: "training" or "test", for the message.

    Raises:
        SettingError: it cannot be read, or is nothing that the task can make a batch of.
    """
    named = f"{split} sample {index}{places_of(dataset, [index])}"
    try:
        with running_on():
            sample = dataset[index]
    except Exception as error:
        text = f"data: {named} cannot be read: {type(error).__name__}: {one_line(error)}"
        raise SettingError(text) from error
    kind = getattr(task, "sample", "the task's collate() needs it")
    with refusing(f"data: {named} cannot be read as {kind}"):
        inputs, targets = task.collate([sample])
        for what, tensor in (("input", inputs), ("target", targets)):
            if not travels(tensor.dtype):
                raise TypeError(
                    f"its {what} is {tensor.dtype}, which nodes do not exchange: convert it in "
                    "the dataset, such as by float(), or complex numbers by torch.view_as_real()"
                )
        return Form.of(inputs), targets


def advice(dtype: torch.dtype) -> str:
    """What to do where a model does not take inputs of this type; "" for float32, which is the
    usual one."""
    if dtype == torch.float32:
        return ""
    if dtype == torch.uint8:
        how = "scale them in the dataset, such as image.float() / 255"
    elif dtype.is_floating_point:
        how = "convert them in the dataset, such as inputs.float()"
    else:
        how = "a layer that is no embedding takes floats, such as inputs.float() in the dataset"
    return f": the inputs are {dtype}, and the weights torch.float32: {how}"
