"""Whatever is done to a ledger's file, `verify` finds it: more than 1000 generated cases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdml.ledger.entry import sign_head
from tdml.ledger.reader import read
from tdml.ledger.verify import verify
from tests.ledger import chains
from tests.ledger.tampering import NAMES, cases, changed, replaced, wrong


@cases(500)
@given(st.data())
def test_a_changed_cell_is_found(small, data):
    rows = small[1]
    index, column = (
        data.draw(st.integers(0, len(rows) - 1)),
        data.draw(st.integers(1, len(NAMES) - 1)),
    )
    value = changed(rows[index][column], column, rows, data)
    found = wrong(
        small, (f'UPDATE entries SET {NAMES[column]} = ? WHERE "index" = ?', value, index)
    )
    assert found.startswith(f"entry {index}")


@cases(100)
@given(st.data())
def test_a_removed_entry_is_found(small, data):
    rows, index = small[1], data.draw(st.integers(0, len(small[1]) - 1))
    closed_up = [
        row if row[0] < index else (row[0] - 1, *row[1:]) for row in rows if row[0] != index
    ]
    keep_head = data.draw(st.booleans())
    head = [] if keep_head else [("UPDATE head SET entries = entries - 1",)]
    assert wrong(small, ('DELETE FROM entries WHERE "index" = ?', index), *head)
    assert wrong(small, *replaced(closed_up), *head)


@cases(50)
@given(st.data())
def test_a_cut_off_end_is_found(small, data):
    rows, length = small[1], data.draw(st.integers(0, len(small[1]) - 1))
    last = rows[length - 1][8] if length else "0" * 64
    assert wrong(small, ('DELETE FROM entries WHERE "index" >= ?', length))
    assert wrong(
        small,
        ('DELETE FROM entries WHERE "index" >= ?', length),
        ("UPDATE head SET entries = ?, hash = ?", length, last),
    )


@cases(100)
@given(st.data())
def test_an_added_entry_is_found(small, data):
    rows = small[1]
    copied, place = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, len(rows)))
    moved = [row if row[0] < place else (row[0] + 1, *row[1:]) for row in rows]
    assert wrong(small, *replaced([*moved, (place, *rows[copied][1:])]))
    assert wrong(
        small,
        *replaced([*moved, (place, *rows[copied][1:])]),
        ("UPDATE head SET entries = entries + 1",),
    )


@cases(100)
@given(st.data())
def test_swapped_entries_are_found(small, data):
    rows = small[1]
    one, other = data.draw(
        st.lists(st.integers(0, len(rows) - 1), min_size=2, max_size=2, unique=True)
    )
    swapped = {one: other, other: one}
    assert wrong(small, *replaced([(swapped.get(row[0], row[0]), *row[1:]) for row in rows]))


@cases(100)
@given(st.data())
def test_a_changed_head_is_found(small, data):
    column, count = data.draw(st.sampled_from(["entries", "hash", "signature"])), len(small[1])
    content = {
        "entries": count,
        "hash": small[1][-1][8],
        "signature": sign_head(count, small[1][-1][8], chains.COORDINATOR),
    }
    value = changed(content[column], 8, small[1], data)
    assert wrong(small, (f"UPDATE head SET {column} = ?", value))


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM head",
        "INSERT INTO head SELECT * FROM head",
        "DROP TABLE head",
        "DROP TABLE entries",
        "CREATE TRIGGER entries AFTER INSERT ON entries BEGIN DELETE FROM head; END",
        "CREATE TABLE more (x)",
        "CREATE VIEW more AS SELECT * FROM entries",
        "CREATE INDEX more ON entries (kind)",
        "CREATE TRIGGER more AFTER INSERT ON entries BEGIN DELETE FROM head; END",
        "ALTER TABLE entries ADD COLUMN more TEXT",
        "ALTER TABLE head ADD COLUMN more TEXT",
        "ALTER TABLE entries RENAME COLUMN seal TO more",
        "ANALYZE",
        "DELETE FROM entries",
    ],
)
def test_a_changed_schema_is_found(small, change):
    assert wrong(small, (change,))


@cases(100)
@given(st.data())
def test_damaged_bytes_are_found_or_harmless(small, data):
    content, rows, path = small
    damaged = bytearray(content)
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=20)):
        damaged[position] = data.draw(st.integers(0, 255))
    length = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    path.write_bytes(damaged[:length])
    try:
        verify(path, chains.PlainBook)
    except ValueError:
        return
    with read(path) as reader:
        assert list(reader.rows()) == rows
