"""Ledgers that are signed anew: by a stranger, by another coordinator, by the coordinator itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdml.ledger.chain import Ledger
from tdml.ledger.entry import chain_hash, seal
from tdml.ledger.reader import to_entry
from tdml.ledger.verify import Wrong, verify
from tdml.protocol.statement import Statement, canonical
from tests.ledger import chains
from tests.ledger.tampering import FULL, STRANGER, cases, head, replaced, wrong


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


@cases(100)
@given(st.data())
def test_a_re_signed_entry_is_found(small, data):
    rows, index = small[1], data.draw(st.integers(0, len(small[1]) - 1))
    author = data.draw(st.sampled_from([STRANGER, *chains.KEYS.values()]))
    made = relinked(rows, index, author)
    alone = [*rows[:index], made[index], *rows[index + 1 :]]
    assert wrong(small, *replaced(alone)).startswith(f"entry {index} ")
    assert wrong(small, *replaced(made), head(made, author)).startswith(f"entry {index} ")


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


def write_anew(rows, author, path, reason=""):
    """The chain once more, signed by `author`, with another reason in every verdict."""
    with Ledger.open(path, author, chains.JOB) as ledger:
        for said, signature in made_anew(rows, author):
            if said.kind == "commit":
                ledger.append_signed(said, signature)
            elif said.kind == "root":
                ledger.close_round(said.round)
            else:
                changes = {"reason": reason} if said.kind == "verdict" else {}
                ledger.append(said.round, said.kind, said.body | changes)


def test_a_chain_that_a_stranger_has_made_anew_is_found(small, tmp_path):
    """With the nodes' own commits, which name the job: that is not his."""
    write_anew(small[1], STRANGER, tmp_path / "ledger.db")
    with pytest.raises(Wrong, match=r"entry 0 .*the job is not that of its coordinator"):
        verify(tmp_path / "ledger.db", chains.PlainBook)


def test_a_chain_that_the_coordinator_has_made_anew_is_found_by_a_root(small, tmp_path):
    path, last = tmp_path / "ledger.db", to_entry(small[1][-1]).body["root"]
    write_anew(small[1], chains.COORDINATOR, path)
    verify(path, chains.PlainBook, root=last)
    path.unlink()
    write_anew(small[1], chains.COORDINATOR, path, "something else")
    verify(path, chains.PlainBook, roster=FULL)  # nothing in the file tells
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
