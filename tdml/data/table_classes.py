"""A table's column of classes, in numbers or words."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch

from tdml.data.table_files import ABSENT, WRONG, Table
from tdml.errors import SettingError

# what programs write for what data.classes has as true and false
_SPELLINGS = {True: ("True", "true", "TRUE", "1"), False: ("False", "false", "FALSE", "0")}


def known_classes(table: Table, column: int, given: Any) -> list[str]:
    """In the order in which they are numbered; none where the column holds numbers.

    Args:
        given: as of `csv`.

    Raises:
        SettingError: it is no such thing, or the column holds something else than classes.
    """
    if given is None or given is False or (isinstance(given, list | tuple) and not given):
        return []
    values = [row[column] for row in table.rows]
    if "" in values:
        raise table.missing(values.index(""), column)
    if given is not True:
        return _named(given, set(values))
    if absent := next((value for value in values if value in ABSENT), None):
        raise _perhaps_missing(table, values.index(absent), column)
    try:
        known = sorted(set(values), key=lambda value: (float(value), value))
    except ValueError:
        return sorted(set(values))
    _check_numbers(table, column, values, known)
    return known


def numbered(table: Table, column: int, known: list[str]) -> torch.Tensor:
    """The class of each row, (rows,) int64.

    Raises:
        SettingError: one is none of these.
    """
    numbers = {value: number for number, value in enumerate(known)}
    for row, values in enumerate(table.rows):
        if values[column] not in numbers:
            raise SettingError(
                f"data.path={table.path}: {table.place(row)} has {values[column][:WRONG]!r} as "
                f"{table.names[column]}, which is none of data.classes=[{','.join(known)}]"
            )
    return torch.tensor([numbers[row[column]] for row in table.rows])


def _named(given: Any, values: set[str]) -> list[str]:
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        raise SettingError(
            f"data.classes={given} must be true, or a list of the classes in their order, such as "
            "data.classes=[cat,dog]"
        )
    names = [_as_written(name, values) for name in given]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SettingError(f"data.classes=[{','.join(names)}] names {twice} twice")
    return names


def _as_written(name: Any, values: set[str]) -> str:
    """A class as a table writes it that has these values."""
    if not isinstance(name, bool):
        return str(name)
    return next((text for text in _SPELLINGS[name] if text in values), str(name))


def _perhaps_missing(table: Table, row: int, column: int) -> SettingError:
    written = table.rows[row][column]
    return SettingError(
        f"{table.missing(row, column)}; or, if {written} is a class, name all classes, as in "
        f"data.classes=[{written},…]"
    )


def _check_numbers(table: Table, column: int, values: list[str], known: list[str]) -> None:
    """Where classes are numbers each is one of them, whatever wrote it: a column of whole numbers
    in which some are missing becomes 1.0 and nan in pandas."""
    if wrong := next((value for value in known if math.isnan(float(value))), None):
        raise table.missing(values.index(wrong), column)
    for one, other in pairwise(known):
        if float(one) == float(other):
            raise SettingError(
                f"data.path={table.path}: {table.names[column]} is {one!r} in some rows and "
                f"{other!r} in others, which is one number: write it in one way"
            )
