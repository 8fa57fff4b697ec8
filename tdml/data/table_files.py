"""Tables as they lie in files, every value as text."""

import csv
from dataclasses import dataclass
from pathlib import Path

from tdml.errors import SettingError, refusing
from tdml.settings.extras import library

_PARQUET = ".parquet"
_INDEX = "__index_level_"  # as pandas calls a column of a Parquet file that has no name
_OTHER_MARKS = (";", "\t", "|")  # between columns
WRONG = 40  # characters of a value that is shown
# what programs write where a value is missing, as pandas reads it
ABSENT = {
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """`rows` are as long as `names`, what is missing is empty; the first is line `first` of the
    file, which has `places` of that name."""

    path: str
    names: list[str]
    rows: list[list[str]]
    places: str
    first: int

    def place(self, row: int) -> str:
        """Where a row is in the file, such as "line 2"."""
        return f"{self.places} {self.first + row}"

    def missing(self, row: int, column: int) -> SettingError:
        """What is to be said of a value that is missing."""
        written = self.rows[row][column]
        as_written = f" ({written[:WRONG]!r})" if written else ""
        return SettingError(
            f"data.path={self.path}: {self.place(row)} has no {self.names[column]}{as_written}: "
            "fill it in, or leave the row out"
        )


def read_table(path: str | None) -> Table:
    """Raises SettingError: there is no such file, or it is no table."""
    if not isinstance(path, str) or not Path(path).is_file():
        raise SettingError(
            f"data.path={path} is no file: give a CSV file whose first line has the names of the "
            f"columns, or a {_PARQUET} file"
        )
    return _parquet(path) if Path(path).suffix == _PARQUET else _csv(path)


def _csv(path: str) -> Table:
    with (
        refusing(f"data.path={path} cannot be read as CSV, which must be UTF-8 text"),
        # Spreadsheets put a mark in front that is no part of the first name.
        open(path, newline="", encoding="utf-8-sig") as file,
    ):
        lines = csv.reader(file, skipinitialspace=True)  # before what is in quotes, too
        rows = [[value.strip() for value in row] for row in lines]
    while rows and not rows[-1]:
        rows.pop()  # empty lines at the end
    if not rows:
        raise SettingError(
            f"data.path={path} is empty: its first line has the names of the columns"
        )
    names, *rows = rows
    if len(names) == 1 and (mark := next((mark for mark in _OTHER_MARKS if mark in names[0]), "")):
        raise SettingError(
            f"data.path={path}: its columns are separated by {mark!r}: write it with commas"
        )
    for line, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise SettingError(
                f"data.path={path}: line {line} has {len(row)} values, and the header {len(names)} "
                "names"
            )
    return Table(path, names, rows, "line", 2)


def _parquet(path: str) -> Table:
    parquet = library("pyarrow.parquet", "data", f"data.path={path}, which is no CSV file,")
    with refusing(f"data.path={path} cannot be read as Parquet"):
        table = parquet.read_table(path)
    # numbers of rows, which pandas keeps as a column where they are not 0, 1, 2, …
    index = [name for name in table.column_names if name.startswith(_INDEX)]
    table = table.drop_columns(index)
    columns = [[_text(value) for value in column.to_pylist()] for column in table.columns]
    return Table(
        path, table.column_names, [list(row) for row in zip(*columns, strict=True)], "row", 1
    )


def _text(value: object) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value).strip()
