"""Reading `ledger.db`, also while a run writes it, and also where nothing can be written."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tdml.errors import SettingError, one_line
from tdml.ledger import bodies
from tdml.ledger.entry import Entry
from tdml.protocol.statement import parse

LEDGER = "ledger.db"  # in the folder of a run
COLUMNS = '"index", job, round, kind, author, body, signature, prev, hash, seal'
SCHEMA = {
    "entries": (
        'CREATE TABLE entries ("index" INTEGER PRIMARY KEY, job TEXT NOT NULL, '
        "round INTEGER NOT NULL, kind TEXT NOT NULL, author TEXT NOT NULL, body TEXT NOT NULL, "
        "signature TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL, seal TEXT NOT NULL)"
    ),
    "head": (
        "CREATE TABLE head (entries INTEGER NOT NULL, hash TEXT NOT NULL, signature TEXT NOT NULL)"
    ),
}
_LARGEST = 1 << 32  # bytes; a round of a hundred nodes takes a few hundred KiB
_TYPES = (int, str, int, str, str, str, str, str, str, str)  # of the columns


class LedgerReader:
    """The ledger, for reading. Use it in one thread, and close it."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path, self._database = path, database

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def entries(self, kind: str | None = None) -> list[Entry]:
        """All entries in their order, of one kind if wanted; also those that a `resume` made void.

        Raises:
            SettingError: the database is damaged.
        """
        entries = []
        for row in self.rows():
            try:
                entry = to_entry(row)
            except ValueError as error:
                raise SettingError(
                    f"{self.path} is damaged at entry {row[0]}: {one_line(error)}"
                ) from error
            if kind in (None, entry.kind):
                entries.append(entry)
        return entries

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The table of entries as it is, whatever it holds, in the order of the indices.

        Raises:
            SettingError: the database is damaged, or no ledger.
        """
        if foreign := self._foreign():  # a view of that name could go on without end
            raise SettingError(f"{self.path} is no ledger: {foreign}")
        with unreadable(self.path):
            yield from self._database.execute(f'SELECT {COLUMNS} FROM entries ORDER BY "index"')

    def is_made(self) -> bool:
        """Whether there are tables; a process that was killed as it made them has left none."""
        with unreadable(self.path):
            return bool(self._database.execute("SELECT 1 FROM sqlite_master").fetchone())

    def heads(self) -> list[tuple[Any, ...]]:
        """The rows of the table `head`: entries, hash, signature. There should be one."""
        with unreadable(self.path):
            return self._database.execute("SELECT entries, hash, signature FROM head").fetchall()

    def fault(self) -> str:
        """What is wrong with the database as such: its tables, and what SQLite finds; empty if
        nothing is."""
        if foreign := self._foreign():
            return foreign
        with unreadable(self.path):
            [(finding,), *_] = self._database.execute("PRAGMA integrity_check")
        return "" if finding == "ok" else f"SQLite finds it damaged: {one_line(finding)}"

    def _foreign(self) -> str:
        """What is wrong with the tables; empty if nothing is."""
        with unreadable(self.path):
            tables = self._database.execute("SELECT name, sql FROM sqlite_master").fetchall()
        for name, sql in tables:
            if SCHEMA.get(name) != sql:
                kind = "changed" if name in SCHEMA else "foreign"
                return f"the schema is not a ledger's: {name!r} is {kind}"
        if len(tables) != len(SCHEMA):
            return f"the schema is not a ledger's: it has {len(tables)} tables, not {len(SCHEMA)}"
        return ""


def read(path: Path) -> LedgerReader:
    """The ledger as it is at this moment.

    Raises:
        SettingError: there is none at `path`, or SQLite cannot read it.
    """
    if not path.is_file():
        raise SettingError(f"{path} does not exist: give the folder of a run")
    with unreadable(path):
        return LedgerReader(path, _open(path))


def to_entry(row: tuple[Any, ...]) -> Entry:
    """Raises:
    ValueError: a column has a wrong type, or the body is not in canonical form or not what this
    kind has.
    """
    for value, expected in zip(row, _TYPES, strict=True):
        if type(value) is not expected:
            raise ValueError(f"a column holds {type(value).__name__}, not {expected.__name__}")
    index, job, round_number, kind, author, text, *rest = row
    body = parse(text)
    bodies.check(kind, body)
    return Entry(index, job, round_number, kind, author, body, *rest)


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Says in one line what SQLite has to complain of, or the file system: a run that begins in
    the folder of another moves that aside."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise SettingError(f"{path} cannot be read as a ledger: {one_line(error)}") from error


def _open(path: Path) -> sqlite3.Connection:
    """Without a log beside it nobody writes, and the file can be read by itself; SQLite would leave
    files behind. A log in a folder that cannot be written is of no use to SQLite: both are read
    from a copy."""
    if not _log(path).exists():
        return _connect(path, "immutable=1")
    for file in (path, _log(path)):
        if not file.is_file() or file.stat().st_size > _LARGEST:
            raise OSError(f"{file.name} is no file of at most {_LARGEST >> 30} GiB")
    try:
        return _connect(path, "mode=ro")
    except sqlite3.OperationalError:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            shutil.copyfile(path, copy)
            shutil.copyfile(_log(path), _log(copy))
            return _connect(copy, "mode=ro")


def _connect(path: Path, how: str) -> sqlite3.Connection:
    database = sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, isolation_level=None)
    try:
        database.text_factory = as_text
        database.execute("BEGIN")  # until it is closed: all that is read is of one moment
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        database.close()
        raise
    return database


def as_text(text: bytes) -> str:
    """Bytes that are no text are no reason to stop: they are found to be wrong later."""
    return text.decode(errors="surrogateescape")


def _log(path: Path) -> Path:
    return path.with_name(path.name + "-wal")
