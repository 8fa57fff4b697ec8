import json
from dataclasses import replace

import pytest

from tdml.errors import SettingError
from tdml.ledger import proof
from tdml.ledger.entry import by_round
from tdml.ledger.reader import read
from tests.ledger import chains


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """A run with void rounds, and a round that was broken off."""
    path = tmp_path_factory.mktemp("proof") / "ledger.db"
    chains.write(path)
    with read(path) as reader:
        return reader.entries()


def test_every_entry_under_a_root_can_be_proved_and_no_other(entries):
    for part in by_round(entries):
        for entry in part:
            if entry.kind == "root" or part[-1].kind != "root":
                with pytest.raises(SettingError, match=f"^ENTRY={entry.index} is "):
                    proof.prove(entries, entry.index)
                continue
            made, root = proof.prove(entries, entry.index)
            assert root == part[-1].body["root"]
            found = proof.check(made.encode(), root)
            assert (found.index, found.statement) == (entry.index, entry.statement)
            assert len(made.encode()) < 5000


def test_a_proof_holds_for_its_root_only(entries):
    roots = {entry.body["root"] for entry in entries if entry.kind == "root"}
    made, root = proof.prove(entries, 17)
    for other in (*roots - {root}, root.upper(), root[:-1], "", "ab" * 32):
        with pytest.raises(ValueError, match="not under this root"):
            proof.check(made.encode(), other)


def test_a_changed_proof_proves_nothing(entries):
    made, root = proof.prove(entries, 18)
    said = made.statement
    for changed in (
        replace(made, index=19),
        replace(made, prev="ab" * 32),
        replace(made, signature=made.signature[:-1] + "0"),
        replace(made, path=made.path[:-1]),
        replace(made, path=[]),
        replace(made, path=[*made.path, made.path[0]]),
        replace(
            made,
            path=[("left" if side == "right" else "right", other) for side, other in made.path],
        ),
        replace(made, statement=replace(said, round=3)),
        replace(made, statement=replace(said, author=chains.KEYS["r0.s0"].public)),
        replace(made, statement=replace(said, body=said.body | {"node": "r0.s0"})),
    ):
        with pytest.raises(ValueError, match="not under this root"):
            proof.check(changed.encode(), root)


def test_the_author_must_have_signed(entries):
    entry = replace(entries[0], signature="00" * 64)
    root = proof.merkle.root([proof.chain_hash(0, entry.prev, entry.statement, entry.signature)])
    forged = proof.InclusionProof(0, entry.prev, entry.statement, entry.signature, [])
    with pytest.raises(ValueError, match="not signed by its author"):
        proof.check(forged.encode(), root)


def damaged(text):
    """Files that are no proofs."""
    value = json.loads(text)
    yield from (
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        text[:-1],
        b"[" * 100_000,
        b" " + text,
        b"1" * 10_000,
    )
    for key in value:
        for other in (None, 3, "x", [], {}, [["up", "ab" * 32]], [["left", "xyz"]], 1e30):
            yield json.dumps(value | {key: other}, sort_keys=True, separators=(",", ":")).encode()
        yield json.dumps(
            {k: v for k, v in value.items() if k != key}, sort_keys=True, separators=(",", ":")
        ).encode()
    yield json.dumps(
        value | {"path": value["path"] * 3000}, sort_keys=True, separators=(",", ":")
    ).encode()


def test_a_file_that_is_no_proof_is_told_in_one_line(entries):
    made, root = proof.prove(entries, 18)
    for text in damaged(made.encode()):
        with pytest.raises(ValueError, match=r"^(it is no proof|the entry is not under this root)"):
            proof.check(text, root)


@pytest.mark.parametrize("index", [-1, 55, 10**30])
def test_an_entry_that_is_not_there_is_the_users_to_mend(entries, index):
    with pytest.raises(SettingError, match=f"^ENTRY={index}: the ledger has the entries 0 to 54"):
        proof.prove(entries, index)
