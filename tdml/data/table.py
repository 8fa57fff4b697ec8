"""Tables: a row is a sample, one column of which is to be said."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from tdml.common.seeds import derive
from tdml.data.held_out import check_held_out
from tdml.data.table_files import Table, read_table
from tdml.errors import SettingError

_WRONG = 40  # characters of a value that is shown


class Rows(Dataset):
    """Sample i is (features (f,) float32, target): a number, or a class where `targets` are
    int64. `columns`: what they are called, in words, which must be the same for all who train;
    `facts`: what has to be known of them to use a model on other rows."""

    def __init__(
        self, features: torch.Tensor, targets: torch.Tensor, columns: str, facts: dict[str, Any]
    ) -> None:
        self._features, self._targets = features, targets
        self.columns, self.facts = columns, facts
        if not targets.is_floating_point():
            self.targets = targets.tolist()

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self._features[index], self._targets[index]


def csv(
    path: str | None,
    target: str | None,
    classes: bool | Sequence[str | int | float],
    held_out: float,
    scaled: bool = True,
) -> tuple[Rows, Rows]:
    """Training and test rows of a CSV file with a header, or of a Parquet file; all columns but the
    target are numbers.

    Args:
        target: the name of the column to be said.
        classes: whether it holds classes, in numbers or words, which are numbered in their order,
            or in that of this list; else it holds numbers.
        held_out: share of the rows that are for validation and test; the same ones in every job.
        scaled: whether numbers are brought to mean 0 and deviation 1 over the training rows.

    Raises:
        SettingError: the file cannot be read as such a table.
    """
    check_held_out(held_out)
    table = read_table(path)
    names, rows = table.names, table.rows
    place, others = _columns(table, target)
    known = _known_classes(table, place, classes)
    features = torch.from_numpy(_numbers(table, others))
    targets = _classes(table, place, known) if known else torch.from_numpy(_numbers(table, [place]))
    order = np.random.default_rng(derive("csv split")).permutation(len(rows))
    cut = round((1 - held_out) * len(rows))
    train, test = torch.from_numpy(order[:cut]), torch.from_numpy(order[cut:])
    if min(len(train), len(test)) < 2:
        raise SettingError(
            f"data.path={path} has {len(rows)} rows, too few to hold out a share of {held_out}"
        )
    features, scales = _scaled(features, train, scaled)
    facts: dict[str, Any] = {"features": dict(zip([names[i] for i in others], scales, strict=True))}
    if known:
        facts |= {"target": names[place], "classes": known}
    else:
        targets, [scale] = _scaled(targets, train, scaled)
        facts |= {"target": {names[place]: scale}}
    ends = f": {', '.join(known)}" if known else ""
    columns = f"{', '.join(facts['features'])} → {names[place]}{ends}"
    first, second = (Rows(features[part], targets[part], columns, facts) for part in (train, test))
    return first, second


def _columns(table: Table, target: str | None) -> tuple[int, list[int]]:
    """The place of the target, and those of all others."""
    names = table.names
    if target not in names:
        raise SettingError(
            f"data.target={target} is no column of {table.path}: choose one of {', '.join(names)}"
        )
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SettingError(f"data.path={table.path} has two columns {twice}: rename one of them")
    if "" in names:
        raise SettingError(
            f"data.path={table.path}: column {1 + names.index('')} has no name: give it one, or "
            "leave it out (pandas writes the rows' numbers there, but with index=False)"
        )
    if len(names) == 1:
        raise SettingError(f"data.path={table.path} has no column beside data.target={target}")
    place = names.index(target)
    return place, [i for i in range(len(names)) if i != place]


def _numbers(table: Table, columns: list[int]) -> np.ndarray:
    """(rows, columns) float64: moments in seconds would be rounded to minutes in float32."""
    try:
        numbers = np.array([[row[i] for i in columns] for row in table.rows], dtype=np.float64)
    except ValueError:
        numbers = None
    if numbers is None or not np.isfinite(numbers).all():
        number, column, value = _first_wrong(table.rows, columns)
        if not value.strip():
            raise _missing(table, number, column)
        hint = (
            ": data.classes=true takes words"
            if len(columns) == 1
            else ": leave the column out, or write numbers"
        )
        raise SettingError(
            f"data.path={table.path}: {table.place(number)} has {value[:_WRONG]!r} as "
            f"{table.names[column]}, which is no number{hint}"
        )
    return numbers


def _missing(table: Table, row: int, column: int) -> SettingError:
    return SettingError(
        f"data.path={table.path}: {table.place(row)} has no {table.names[column]}: fill it in, or "
        "leave the row out"
    )


def _first_wrong(rows: list[list[str]], columns: list[int]) -> tuple[int, int, str]:
    """Of which row, in which column, and what."""
    for number, row in enumerate(rows):
        for i in columns:
            try:
                wrong = not np.isfinite(float(row[i]))
            except ValueError:
                wrong = True
            if wrong:
                return number, i, row[i]
    raise AssertionError("all are numbers")


def _known_classes(
    table: Table, column: int, classes: bool | Sequence[str | int | float]
) -> list[str]:
    """In the order in which they are numbered; none where the column holds numbers."""
    if not classes:
        return []
    values = [row[column] for row in table.rows]
    if "" in values:
        raise _missing(table, values.index(""), column)
    if classes is not True:
        given = [str(name) for name in classes]
        if twice := next((name for name in given if given.count(name) > 1), None):
            raise SettingError(f"data.classes=[{','.join(given)}] names {twice} twice")
        return given
    try:
        known = sorted(set(values), key=lambda value: (float(value), value))
    except ValueError:
        return sorted(set(values))
    _check_numbers(table, column, values, known)
    return known


def _check_numbers(table: Table, column: int, values: list[str], known: list[str]) -> None:
    """Where classes are numbers each is one of them, whatever wrote it: a column of whole numbers
    in which some are missing becomes 1.0 and nan in pandas."""
    if wrong := next((value for value in known if math.isnan(float(value))), None):
        raise _missing(table, values.index(wrong), column)
    for one, other in pairwise(known):
        if float(one) == float(other):
            raise SettingError(
                f"data.path={table.path}: {table.names[column]} is {one!r} in some rows and "
                f"{other!r} in others, which is one number: write it in one way"
            )


def _classes(table: Table, column: int, known: list[str]) -> torch.Tensor:
    """(rows,) int64."""
    numbers = {value: number for number, value in enumerate(known)}
    for row, values in enumerate(table.rows):
        if values[column] not in numbers:
            raise SettingError(
                f"data.path={table.path}: {table.place(row)} has {values[column][:_WRONG]!r} as "
                f"{table.names[column]}, which is none of data.classes=[{','.join(known)}]"
            )
    return torch.tensor([numbers[row[column]] for row in table.rows])


def _scaled(
    values: torch.Tensor, train: torch.Tensor, scaled: bool
) -> tuple[torch.Tensor, list[dict[str, float]]]:
    """(rows, columns) float32; and of each column what was taken off, and by what the rest was
    divided."""
    chosen = values[train].double()
    mean, deviation = chosen.mean(dim=0), chosen.std(dim=0, correction=0)
    if not scaled:
        mean, deviation = torch.zeros_like(mean), torch.ones_like(mean)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    scales = [
        {"mean": m, "deviation": d} for m, d in zip(mean.tolist(), deviation.tolist(), strict=True)
    ]
    return ((values.double() - mean) / deviation).float(), scales
