"""A small ledger whose file is tampered with."""

import sqlite3

from hypothesis import settings
from hypothesis import strategies as st

from tdml.ledger.entry import sign_head
from tdml.ledger.reader import COLUMNS
from tdml.ledger.verify import Wrong, verify
from tests.ledger import chains

NAMES = [name.strip(' "') for name in COLUMNS.split(",")]
STRANGER = chains.key(77)
FULL = {
    "coordinator": chains.COORDINATOR.public,
    **{name: key.public for name, key in chains.KEYS.items()},
}


def cases(number):
    return settings(derandomize=True, deadline=None, max_examples=number)


def wrong(small, *changes, roster=None, root=None):
    """Whether the copy is found to be wrong once these statements were executed on it."""
    content, _, path = small
    path.write_bytes(content)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=OFF")
    database.execute("PRAGMA synchronous=OFF")
    database.execute("BEGIN")
    for statement, *values in changes:
        database.execute(statement, values)
    database.execute("COMMIT")
    database.close()
    try:
        verify(path, chains.PlainBook, roster, root)
    except Wrong as error:
        assert "\n" not in str(error)
        return str(error)
    return ""


def replaced(rows):
    """The statements that put other rows in the place of all entries."""
    marks = ",".join("?" * len(NAMES))
    return [
        ("DELETE FROM entries",),
        *((f"INSERT INTO entries VALUES ({marks})", *row) for row in rows),
    ]


def changed(value, column, rows, data):
    """Another value for a cell: near to the old one, from elsewhere in the table, or of another
    type."""
    if isinstance(value, int):
        return data.draw(
            st.sampled_from([value + 1, value - 1, -value - 1, str(value) + "x", value + 0.5, b"1"])
        )
    position = data.draw(st.integers(0, len(value) - 1))
    other = chr(ord(value[position]) ^ 1)
    return data.draw(
        st.sampled_from(
            [
                value[:position] + other + value[position + 1 :],
                value[:position] + value[position + 1 :],
                value + " ",
                "",
                value.upper() if value.upper() != value else value + "0",
                value.encode(),
                b"\xff",
                *(row[column] for row in rows if row[column] != value),
                value + "\x00",
            ]
        )
    )


def head(rows, author):
    """The statement that signs the chain's head anew."""
    signature = sign_head(len(rows), rows[-1][8], author)
    return (
        "UPDATE head SET entries = ?, hash = ?, signature = ?",
        len(rows),
        rows[-1][8],
        signature,
    )
