"""Whatever is done to a ledger's file, `verify` finds it: more than 1000 generated cases."""

import sqlite3
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdml.ledger import entry as entry_module
from tdml.ledger import statement as statement_module
from tdml.ledger.chain import Ledger
from tdml.ledger.entry import chain_hash, seal, sign_head
from tdml.ledger.reader import COLUMNS, read, to_entry
from tdml.ledger.statement import Statement, canonical
from tdml.ledger.verify import Wrong, verify
from tdml.members import identity
from tests.ledger import chains

NAMES = [name.strip(' "') for name in COLUMNS.split(",")]
STRANGER = chains.key(77)
FULL = {
    "coordinator": chains.COORDINATOR.public,
    **{name: key.public for name, key in chains.KEYS.items()},
}


def cases(number):
    return settings(derandomize=True, deadline=None, max_examples=number)


@pytest.fixture(scope="module", autouse=True)
def remembered_signatures():
    """The same signatures are checked a thousand times here."""
    patch = pytest.MonkeyPatch()
    remembered = lru_cache(maxsize=None)(identity.verify)
    for module in (statement_module, entry_module):
        patch.setattr(module, "verify", remembered)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A ledger with every way in which a round can go: the file's bytes, its rows, and where copies
    may be made."""
    path = tmp_path_factory.mktemp("tampering") / "ledger.db"
    with Ledger.open(path, chains.COORDINATOR, chains.JOB) as ledger:
        chains.begin(ledger)
        chains.before_commits(ledger, 1)
        ledger.resume(0)
        chains.play(ledger, 1, blamed=["r1.s1"])
        ledger.end(chains.digest("weights 1"), "all 1 rounds done")
    with read(path) as reader:
        rows = list(reader.rows())
    verify(path, chains.PlainBook)
    return path.read_bytes(), rows, path.with_name("copy.db")


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


def relinked(rows, first, author):
    """The chain from entry `first` on with all hashes made anew, signed and sealed by another
    key."""
    made = list(rows[:first])
    for row in rows[first:]:
        entry = to_entry(row)
        said = entry.statement
        if row[0] == first or author.public == said.author:
            said = Statement(said.job, said.round, said.kind, author.public, said.body)
        signature = said.sign(author) if said.author == author.public else entry.signature
        prev = made[-1][8] if made else "0" * 64
        hash = chain_hash(row[0], prev, said, signature)
        body = canonical(said.body).decode()
        made.append(
            (
                row[0],
                said.job,
                said.round,
                said.kind,
                said.author,
                body,
                signature,
                prev,
                hash,
                seal(hash, author),
            )
        )
    return made


def head(rows, author):
    """The statement that signs the chain's head anew."""
    signature = sign_head(len(rows), rows[-1][8], author)
    return (
        "UPDATE head SET entries = ?, hash = ?, signature = ?",
        len(rows),
        rows[-1][8],
        signature,
    )


@cases(100)
@given(st.data())
def test_a_re_signed_entry_is_found(small, data):
    rows, index = small[1], data.draw(st.integers(0, len(small[1]) - 1))
    author = data.draw(st.sampled_from([STRANGER, *chains.KEYS.values()]))
    made = relinked(rows, index, author)
    alone = [*rows[:index], made[index], *rows[index + 1 :]]
    assert wrong(small, *replaced(alone)).startswith(f"entry {index} ")
    assert wrong(small, *replaced(made), head(made, author)).startswith(f"entry {index} ")


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


def made_anew(rows, author):
    """The whole chain as another coordinator would write it: its own key throughout, the nodes'
    commits kept."""
    made = []
    for row in rows:
        said = to_entry(row).statement
        body = said.body | ({"coordinator": author.public} if said.kind == "job" else {})
        signer = None if said.kind == "commit" else author
        said = Statement(
            said.job, said.round, said.kind, signer.public if signer else said.author, body
        )
        made.append((said, signer.sign(said.encode()) if signer else row[6]))
    return made


def test_a_chain_made_anew_is_found_by_the_roster_or_a_root(small, tmp_path):
    path = tmp_path / "ledger.db"
    with Ledger.open(path, STRANGER, chains.JOB) as ledger:
        for said, signature in made_anew(small[1], STRANGER):
            if said.kind == "commit":
                ledger.append_signed(said, signature)
            elif said.kind == "root":
                ledger.close_round(said.round)
            else:
                ledger.append(said.round, said.kind, said.body)
    verify(path, chains.PlainBook)  # nothing in the file tells
    with pytest.raises(Wrong, match=r"entry 0 .*the coordinator's key is not that of the roster"):
        verify(path, chains.PlainBook, roster=FULL)
    last = to_entry(small[1][-1]).body["root"]
    with pytest.raises(Wrong, match=f"no round has the root {last}"):
        verify(path, chains.PlainBook, root=last)


def test_not_even_the_coordinator_can_break_the_chain(small):
    rows, last = small[1], small[1][-1]
    said = to_entry(last).statement
    free = chains.digest("free")
    for index, prev, hash, text in (
        (last[0], last[7], free, "its hash is not that of what it says"),
        (
            last[0],
            free,
            chain_hash(last[0], free, said, last[6]),
            "it does not hold the hash of the entry before",
        ),
        (
            last[0] + 1,
            last[7],
            chain_hash(last[0] + 1, last[7], said, last[6]),
            f"entry {last[0]} is missing",
        ),
    ):
        row = (index, *last[1:7], prev, hash, seal(hash, chains.COORDINATOR))
        made = [*rows[:-1], row]
        assert wrong(small, *replaced(made), head(made, chains.COORDINATOR)).endswith(text)


def test_the_true_ledger_passes_with_roster_and_root(small):
    assert wrong(small) == ""
    for row in small[1]:
        if row[3] == "root":
            assert wrong(small, roster=FULL, root=to_entry(row).body["root"]) == ""


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"r0.s1": STRANGER.public},
            "entry 1 (roster, round 0): the key of r0.s1 is not that of the roster",
        ),
        (
            {"r9.s0": STRANGER.public},
            "entry 1 (roster, round 0): the key of r9.s0 is not that of the roster",
        ),
        (
            {"coordinator": STRANGER.public},
            "entry 0 (job, round 0): the coordinator's key is not that of the roster",
        ),
    ],
)
def test_a_roster_with_other_keys_is_told(small, change, text):
    assert wrong(small, roster=FULL | change) == text
    assert wrong(small, roster={name: key for name, key in FULL.items() if name != "r0.s0"})
