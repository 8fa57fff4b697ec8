"""Folders that Hugging Face's datasets has saved."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Subset

from tdml.common.seeds import derive
from tdml.data.origin import Origin
from tdml.errors import SettingError, refusing
from tdml.settings.extras import library


class Columns(Dataset):
    """Sample i is (inputs, target) of row i, or its inputs alone where there is no target. Lists
    and arrays become tensors, images (channels, height, width) float32 from 0 to 1."""

    def __init__(self, rows: Any, inputs: str, target: str | None) -> None:
        self._rows, self._inputs, self._target = rows, inputs, target
        if target is not None and np.issubdtype(np.asarray(rows[:1][target]).dtype, np.integer):
            self.targets = list(rows[target])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Any:
        row = self._rows[int(index)]
        for column in (self._inputs, self._target):
            if column is not None and row[column] is None:
                raise ValueError(f"row {int(index)} has no {column}: fill it in, or leave it out")
        inputs = _tensor(row[self._inputs], self._inputs)
        if self._target is None:
            return inputs
        target = row[self._target]
        return inputs, target if isinstance(target, int | float | str) else torch.as_tensor(target)


class _Chosen(Subset):
    """Some rows of one dataset."""

    def __init__(self, rows: Columns, chosen: list[int]) -> None:
        super().__init__(rows, chosen)
        self.origin = Origin(np.array(chosen, dtype=np.int64), len(rows), "row", 0)


def hf(
    path: str | None, inputs: str | int, target: str | int | None, held_out: float
) -> tuple[Dataset, ...]:
    """Training and test rows of a folder that `save_to_disk` has written, which is mapped into
    memory.

    With splits these are `train` and `test`; `validation` judges if it is there beside `test`, and
    stands for it if it is alone. Of one dataset a share is held out.

    Args:
        inputs: the column of token ids, images or numbers.
        target: that of what is to be said of them; None: nothing, as for tokens.
        held_out: share of the rows that are for validation and test where there are no splits; the
            same ones in every job.

    Raises:
        SettingError: there is no such folder, or nothing of this kind in it.
    """
    loaded = _load(path)
    if not isinstance(loaded, Mapping):
        rows = _columns(loaded, inputs, target)
        order = np.random.default_rng(derive("hf split")).permutation(len(rows)).tolist()
        cut = round((1 - held_out) * len(rows))
        return _Chosen(rows, order[:cut]), _Chosen(rows, order[cut:])
    names = [name for name in ("train", "test", "validation") if name in loaded]
    if names[:1] != ["train"] or len(names) == 1:
        raise SettingError(
            f"data.path={path} has the splits {', '.join(loaded)}: train and test are needed"
        )
    return tuple(_columns(loaded[name], inputs, target) for name in names)


def _load(path: str | None) -> Any:
    datasets = library("datasets", "data", "data=hf")
    if path is None or not Path(path).is_dir():
        raise SettingError(
            f"data.path={path} is no folder: give one that dataset.save_to_disk has written, for "
            "nothing is fetched while a job runs"
        )
    datasets.disable_progress_bars()
    with refusing(f"data.path={path} is no folder that dataset.save_to_disk has written"):
        return datasets.load_from_disk(path)


def _columns(rows: Any, inputs: str | int, target: str | int | None) -> Columns:
    inputs, target = str(inputs), target if target is None else str(target)
    for setting, name in (("data.inputs", inputs), ("data.target", target)):
        if name not in rows.column_names and (name is not None or setting == "data.inputs"):
            raise SettingError(
                f"{setting}={name} is no column of the data: choose one of "
                f"{', '.join(rows.column_names)}"
            )
    # a folder keeps how its rows were looked at, such as some columns alone, as torch's tensors
    return Columns(rows.with_format(None), inputs, target)


def _tensor(value: Any, column: str) -> torch.Tensor:
    if isinstance(value, str | Mapping):
        raise TypeError(
            f"its {column} is a {type(value).__name__}: have tokens or numbers in the column of "
            "data.inputs, such as by dataset.map with a tokenizer"
        )
    if hasattr(value, "getbands"):  # an image of PIL's
        return _pixels(value, column)
    return torch.as_tensor(value)


def _pixels(image: Any, column: str) -> torch.Tensor:
    """(channels, height, width) float32 from 0 to 1."""
    if image.mode in ("P", "PA"):
        see_through = image.mode == "PA" or "transparency" in image.info
        image = image.convert("RGBA" if see_through else "RGB")
    elif image.mode == "1":
        image = image.convert("L")

    values = np.array(image)
    if values.dtype.kind != "u":
        raise TypeError(
            f"its {column} is an image of PIL's mode {image.mode}, of which nobody knows how large "
            "its values may be: convert it in the data, such as by image.convert('RGB')"
        )
    pixels = torch.from_numpy(values.astype(np.float32)) / np.iinfo(values.dtype).max
    return pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1).contiguous()
