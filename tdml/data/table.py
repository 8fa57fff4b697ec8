"""Tables: a row is a sample, one column of which is to be said."""

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
    """Training and test rows of a CSV file with a header, or of a Parquet file; all columns but the
    target are numbers, and are scaled to mean 0 and deviation 1 over the training rows.

    Args:
        target: the name of the column to be said.
        classes: whether it holds classes, in numbers or words, which are numbered in their order;
            else numbers, which are scaled as the features are.
        held_out: share of the rows that are for validation and test; the same ones in every job.

    Raises:
        SettingError: the file cannot be read as such a table.
    """
    check_held_out(held_out)
    table = read_table(path)
    names, rows = table.names, table.rows
    if target not in names:
        raise SettingError(
            f"data.target={target} is no column of {path}: choose one of {', '.join(names)}"
        )
    place = names.index(target)
    features = torch.from_numpy(_numbers(table, [i for i in range(len(names)) if i != place]))
    said = _classes(table, place) if classes else torch.from_numpy(_numbers(table, [place]))
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


def _numbers(table: Table, columns: list[int]) -> np.ndarray:
    """(rows, columns) float64: moments in seconds would be rounded to minutes in float32."""
    try:
        found = np.array([[row[i] for i in columns] for row in table.rows], dtype=np.float64)
    except ValueError:
        found = None
    if found is None or not np.isfinite(found).all():
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
    return found


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


def _classes(table: Table, column: int) -> torch.Tensor:
    """(rows,) int64."""
    values = [row[column] for row in table.rows]
    if "" in values:
        raise _missing(table, values.index(""), column)
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
