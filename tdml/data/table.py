"""Tables: a row is a sample, one column of which is to be said."""

import csv as format_csv
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from tdml.errors import SettingError, one_line
from tdml.seeds import derive

_WRONG = 40  # characters of a value that is shown


class Rows(Dataset):
    """Sample i is (features (f,) float32, target): a number, or a class where `targets` are
    int64."""

    def __init__(self, features: torch.Tensor, targets: torch.Tensor) -> None:
        self._features, self._targets = features, targets
        if not targets.is_floating_point():
            self.targets = targets.tolist()

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self._features[index], self._targets[index]


def csv(path: str | None, target: str | None, classes: bool, held_out: float) -> tuple[Rows, Rows]:
    """Training and test rows of a CSV file with a header; all columns but the target are numbers,
    and are scaled to mean 0 and deviation 1 over the training rows.

    Args:
        target: the name of the column to be said.
        classes: whether it holds classes, in numbers or words, which are numbered in their order;
            else numbers, which are scaled as the features are.
        held_out: share of the rows that are for validation and test; the same ones in every job.

    Raises:
        SettingError: the file cannot be read as such a table.
    """
    if not isinstance(held_out, float) or not 0 < held_out < 1:
        raise SettingError(f"data.held_out={held_out} must be a share between 0 and 1")
    names, rows = _read(path)
    if target not in names:
        raise SettingError(
            f"data.target={target} is no column of {path}: choose one of {', '.join(names)}"
        )
    place = names.index(target)
    features = torch.from_numpy(
        _numbers(rows, [i for i in range(len(names)) if i != place], names, path)
    )
    said = (
        _classes([row[place] for row in rows])
        if classes
        else torch.from_numpy(_numbers(rows, [place], names, path))
    )
    order = np.random.default_rng(derive("csv split")).permutation(len(rows))
    cut = round((1 - held_out) * len(rows))
    train, test = torch.from_numpy(order[:cut]), torch.from_numpy(order[cut:])
    if min(len(train), len(test)) < 2:
        raise SettingError(
            f"data.path={path} has {len(rows)} rows, too few to hold out a share of {held_out}"
        )
    features = _scaled(features, train)
    said = said if classes else _scaled(said, train)
    return Rows(features[train], said[train]), Rows(features[test], said[test])


def _read(path: str | None) -> tuple[list[str], list[list[str]]]:
    if path is None or not Path(path).is_file():
        raise SettingError(
            f"data.path={path} is no file: give a CSV file whose first line has the names of the "
            "columns"
        )
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            names, *rows = format_csv.reader(file)
    except (ValueError, OSError, format_csv.Error) as error:
        raise SettingError(f"data.path={path} cannot be read as CSV: {one_line(error)}") from error
    for line, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise SettingError(
                f"data.path={path}: line {line} has {len(row)} values, and the header {len(names)} "
                "names"
            )
    return [name.strip() for name in names], rows


def _numbers(rows: list[list[str]], columns: list[int], names: list[str], path: str) -> np.ndarray:
    """(rows, columns) float32."""
    try:
        found = np.array([[row[i] for i in columns] for row in rows], dtype=np.float64)
    except ValueError:
        found = None
    if found is None or not np.isfinite(found).all():
        line, name, value = _first_wrong(rows, columns, names)
        hint = (
            ": data.classes=true takes words"
            if len(columns) == 1
            else ": leave the column out, or write numbers"
        )
        raise SettingError(
            f"data.path={path}: line {line} has {value[:_WRONG]!r} as {name}, which is no "
            f"number{hint}"
        )
    return found.astype(np.float32)


def _first_wrong(
    rows: list[list[str]], columns: list[int], names: list[str]
) -> tuple[int, str, str]:
    for line, row in enumerate(rows, start=2):
        for i in columns:
            try:
                wrong = not np.isfinite(float(row[i]))
            except ValueError:
                wrong = True
            if wrong:
                return line, names[i], row[i]
    raise AssertionError("all are numbers")


def _classes(values: list[str]) -> torch.Tensor:
    """(rows,) int64."""
    try:
        known = sorted(set(values), key=float)
    except ValueError:
        known = sorted(set(values))
    numbers = {value: number for number, value in enumerate(known)}
    return torch.tensor([numbers[value] for value in values])


def _scaled(values: torch.Tensor, train: torch.Tensor) -> torch.Tensor:
    chosen = values[train].double()
    deviation = chosen.std(dim=0, correction=0)
    return (
        (values.double() - chosen.mean(dim=0)) / torch.where(deviation > 0, deviation, 1.0)
    ).float()
