"""Tables: a row is a sample, one column of which is to be said."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from tdml.common.dtypes import rounds_to_few
from tdml.common.seeds import derive
from tdml.data.origin import Origin
from tdml.data.table_classes import known_classes, numbered
from tdml.data.table_files import ABSENT, WRONG, Table, read_table
from tdml.errors import SettingError


class Rows(Dataset):
    """Sample i is (features (f,) float32, target): a number, or a class where `targets` are
    int64. `columns`: what they are called, in words, which must be the same for all who train;
    `facts`: what has to be known of them to use a model on other rows; `origin`: where in the file
    they are."""

    def __init__(
        self,
        features: torch.Tensor,
        targets: torch.Tensor,
        columns: str,
        facts: dict[str, Any],
        origin: Origin,
    ) -> None:
        self._features, self._targets = features[origin.rows], targets[origin.rows]
        self.columns, self.facts, self.origin = columns, facts, origin
        if not targets.is_floating_point():
            self.targets = self._targets.tolist()

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self._features[index], self._targets[index]


def csv(
    path: str | None,
    target: str | int | None,
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
    table = read_table(path)
    names, rows = table.names, table.rows
    place, others = _columns(table, target)
    known = known_classes(table, place, classes)
    features = _numbers(table, others, place)
    targets = numbered(table, place, known) if known else _numbers(table, [place], place)
    order = np.random.default_rng(derive("csv split")).permutation(len(rows))
    cut = round((1 - held_out) * len(rows))
    train, test = order[:cut], order[cut:]
    if min(len(train), len(test)) < 2:
        raise SettingError(
            f"data.path={path} has {len(rows)} rows, too few to hold out a share of {held_out}"
        )
    features, scales = _scaled(table, others, features, train, scaled)
    facts: dict[str, Any] = {"features": dict(zip([names[i] for i in others], scales, strict=True))}
    if known:
        facts |= {"target": names[place], "classes": known}
    else:
        targets, [scale] = _scaled(table, [place], targets, train, scaled)
        facts |= {"target": {names[place]: scale}}
    ends = f": {', '.join(known)}" if known else ""
    columns = f"{', '.join(facts['features'])} → {names[place]}{ends}"
    first, second = (
        Rows(features, targets, columns, facts, Origin(part, len(rows), table.places, table.first))
        for part in (train, test)
    )
    return first, second


def _columns(table: Table, target: Any) -> tuple[int, list[int]]:
    """The place of the target, and those of all others."""
    names = table.names
    target = target if target is None else str(target)  # pandas' own names are 0, 1, 2, …
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


def _numbers(table: Table, columns: list[int], target: int) -> torch.Tensor:
    """(rows, columns) float64: moments in seconds would be rounded to minutes in float32."""
    numbers = np.array([[_number(row[i]) for i in columns] for row in table.rows], dtype=np.float64)
    for row, place in np.argwhere(~np.isfinite(numbers)):
        column = columns[place]
        value = table.rows[row][column]
        if value in ABSENT:
            raise table.missing(row, column)
        hint = (
            ": data.classes=true takes words"
            if column == target
            else ": leave the column out, or write numbers"
        )
        raise SettingError(
            f"data.path={table.path}: {table.place(row)} has {value[:WRONG]!r} as "
            f"{table.names[column]}, which is no number{hint}"
        )
    return torch.from_numpy(numbers)


def _number(text: str) -> float:
    try:
        return float("nan" if "_" in text else text)  # Python's 2023_01 is anybody else's text
    except ValueError:
        return float("nan")


def _scaled(
    table: Table, columns: list[int], values: torch.Tensor, train: np.ndarray, scaled: bool
) -> tuple[torch.Tensor, list[dict[str, float]]]:
    """(rows, columns) float32; and of each column what was taken off, and by what the rest was
    divided."""
    # one column at a time: as Python's numbers it takes many times as much memory
    moments = [_moments(column.double().tolist()) for column in values[train].T]
    mean, deviation = torch.tensor(moments, dtype=torch.float64).T
    if not scaled:
        mean, deviation = torch.zeros_like(mean), torch.ones_like(mean)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    scales = [
        {"mean": m, "deviation": d} for m, d in zip(mean.tolist(), deviation.tolist(), strict=True)
    ]
    numbers = (values.double() - mean) / deviation
    single = numbers.float()
    for place, column in enumerate(columns):
        few = rounds_to_few(values[:, place], numbers[:, place])
        if few or not single[:, place].isfinite().all():
            raise _too_close(table, table.names[column], scaled)
    return single, scales


def _moments(numbers: list[float]) -> tuple[float, float]:
    """Mean and standard deviation, of sums that are exact: how else they are rounded hangs on the
    processor and its threads, and the same samples would be other numbers on another machine."""
    if min(numbers) == max(numbers):  # of which the sum, divided by their number, may be another
        return numbers[0], 0.0
    try:
        mean = math.fsum(numbers) / len(numbers)
        squares = math.fsum((number - mean) * (number - mean) for number in numbers)
    except OverflowError:
        return math.inf, math.inf
    return mean, math.sqrt(squares / len(numbers))


def _too_close(table: Table, name: str, scaled: bool) -> SettingError:
    advice = (
        "some are so far from all others that these cannot be told apart: leave their rows out, or "
        "write the column's logarithm"
        if scaled
        else "take off their mean in the file, and divide by their deviation (several owners by "
        "the same numbers), or set data.scaled=true"
    )
    return SettingError(
        f"data.path={table.path}: {name} has numbers that differ, and are the same in float32: "
        f"{advice}"
    )
