import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest

from tdml.errors import SettingError
from tdml.ledger.chain import Ledger
from tdml.ledger.reader import read
from tdml.ledger.verify import verify
from tdml.protocol.identity import Identity, verify_signature
from tdml.protocol.statement import Statement
from tests.ledger import chains


@pytest.fixture
def ledger(path):
    """A ledger with round 0."""
    with Ledger.open(path, chains.COORDINATOR, chains.JOB) as made:
        chains.begin(made)
        yield made


def plain_json(value):
    """RFC 8785 for values without floats and with ASCII keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_the_chain_is_what_the_format_says(ledger):
    chains.before_commits(ledger, 1)
    chains.commit(ledger, 1, "r0.s0")
    prev = "0" * 64
    entries = ledger.entries()
    for index, entry in enumerate(entries[1:], 1):  # the first has a float
        prev = entries[index - 1].hash
        statement = {k: getattr(entry, k) for k in ("job", "round", "kind", "author", "body")}
        fields = {
            "index": index,
            "prev": prev,
            "statement": statement,
            "signature": entry.signature,
        }
        assert (entry.index, entry.prev) == (index, prev)
        assert entry.hash == hashlib.sha256(plain_json(fields)).hexdigest()
        assert verify_signature(entry.author, entry.signature, plain_json(statement))
        assert verify_signature(
            chains.COORDINATOR.public, entry.seal, plain_json({"seal": entry.hash})
        )
    [(count, last, signature)] = ledger.heads()
    assert (count, last) == (len(entries), entries[-1].hash)
    assert verify_signature(
        chains.COORDINATOR.public, signature, plain_json({"entries": count, "hash": last})
    )


def test_it_is_written_as_the_issue_says(path, ledger):
    other = sqlite3.connect(path)
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert ledger._database.execute("PRAGMA synchronous").fetchone() == (2,)


def test_entries_are_found_by_kind(ledger):
    assert [entry.kind for entry in ledger.entries()] == [
        "job",
        "roster",
        "rewards",
        "weights",
        "root",
    ]
    chains.play(ledger, 1)
    assert [entry.body["node"] for entry in ledger.entries("commit")] == [
        "r0.s0",
        "r0.s1",
        "r1.s0",
        "r1.s1",
    ]
    assert [entry.round for entry in ledger.entries(kind="root")] == [0, 1]
    with read(ledger.path) as reader:
        assert reader.entries() == ledger.entries()


def test_the_last_round_is_the_last_closed_one(path):
    with Ledger.open(path, chains.COORDINATOR, chains.JOB) as made:
        assert made.last_round() is None
        chains.begin(made)
        chains.play(made, 1)
        chains.play(made, 2)
        chains.before_commits(made, 3)
        assert made.last_round() == 2
    with Ledger.open(path, chains.COORDINATOR, chains.JOB) as made:
        assert made.last_round() == 2
        assert made.resume(1).round == 2
        assert made.last_round() == 1
        chains.play(made, 2)
        end = made.end(chains.digest("weights 2"), "done")
        assert (end.round, made.last_round()) == (3, 2)
        assert made.entries()[-1].body["entries"] == 1


def test_a_batch_is_all_or_nothing(ledger):
    before = ledger.entries()
    with pytest.raises(KeyboardInterrupt), ledger.batch():
        chains.before_commits(ledger, 1)
        raise KeyboardInterrupt
    assert ledger.entries() == before
    with ledger.batch():
        chains.before_commits(ledger, 1)
        chains.commit(ledger, 1, "r0.s0")
        with read(ledger.path) as reader:
            assert reader.entries() == before
    assert [entry.index for entry in ledger.entries()] == list(range(len(before) + 2))


def test_an_interrupt_after_the_commit_loses_nothing(ledger, monkeypatch):
    class Interrupted:
        def __init__(self, database):
            self._database = database

        def __getattr__(self, name):
            return getattr(self._database, name)

        def execute(self, statement, *values):
            result = self._database.execute(statement, *values)
            if statement == "COMMIT":
                raise KeyboardInterrupt
            return result

    count = len(ledger.entries())
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ledger, "_database", Interrupted(ledger._database))
        chains.before_commits(ledger, 1)
    assert chains.commit(ledger, 1, "r0.s0").index == count + 1


def test_a_full_disk_is_an_error_of_the_system_and_loses_nothing_else(ledger):
    pages = ledger._database.execute("PRAGMA page_count").fetchone()[0]
    ledger._database.execute(f"PRAGMA max_page_count={pages}")
    before = ledger.entries()
    with pytest.raises(OSError, match=r"ledger\.db: .*full"), ledger.batch():
        for _ in range(1000):
            ledger.append(1, "refusal", {"node": "", "what": "x" * 1000})
    assert ledger.entries() == before
    ledger._database.execute("PRAGMA max_page_count=100000")
    chains.play(ledger, 1)
    assert verify(ledger.path, chains.PlainBook).rounds == 1


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("gossip", {}),
        ("weights", {}),
        ("weights", {"digest": "AB" * 32}),
        ("weights", {"digest": "ab" * 32 + "\n"}),
        ("root", {"entries": True, "root": "ab" * 32}),
        ("rewards", {"postings": [{"from": "mint", "to": "treasury", "amount": 0, "why": ""}]}),
        ("rewards", {"postings": [{"from": "mint", "to": "treasury", "amount": 2**53, "why": ""}]}),
        ("refusal", {"node": "r0.s0", "what": "\ud800"}),
        ("verdict", chains.verdict(distance=float("nan"))),
    ],
)
def test_a_body_that_its_kind_does_not_have_is_refused(ledger, kind, body):
    before = ledger.entries()
    with pytest.raises(ValueError, match=r"."):
        ledger.append(1, kind, body)
    assert ledger.entries() == before


def test_only_true_commits_of_this_job_are_taken_from_nodes(ledger):
    node, body = chains.KEYS["r0.s0"], chains.commit_body(1, "r0.s0")
    good = Statement(chains.JOB, 1, "commit", node.public, body)
    signature = good.sign(node)
    for statement, signed in (
        (good, chains.KEYS["r0.s1"].sign(good.encode())),
        (good, signature.upper()),
        (good, signature + " "),
        (good, None),
        (good, ""),
        (job := Statement("other", 1, "commit", node.public, body), job.sign(node)),
        (Statement(chains.JOB, 1, "commit", "no key", body), signature),
        (
            kind := Statement(chains.JOB, 1, "rewards", node.public, {"postings": []}),
            kind.sign(node),
        ),
        (shape := Statement(chains.JOB, 1, "commit", node.public, {"node": 3}), shape.sign(node)),
    ):
        with pytest.raises(ValueError, match=r"."):
            ledger.append_signed(statement, signed)
    assert ledger.append_signed(good, signature).author == node.public


def test_a_ledger_of_another_job_or_coordinator_is_not_continued(path, ledger):
    ledger.close()
    with pytest.raises(SettingError, match=r"^run_dir=.* is of another job"):
        Ledger.open(path, chains.COORDINATOR, "other")
    with pytest.raises(SettingError, match=r"^identity\.folder: .*another coordinator's key"):
        Ledger.open(path, Identity.new(), chains.JOB)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ('UPDATE entries SET round = 1 WHERE "index" = 2', "its hash is not that of what it says"),
        ('DELETE FROM entries WHERE "index" = 2', "entry 2 is missing"),
        ('DELETE FROM entries WHERE "index" = 4', "the head speaks of 5 entries, but there are 4"),
        ("UPDATE entries SET body = '{' WHERE \"index\" = 2", "damaged at entry 2"),
        (
            "UPDATE head SET signature = upper(signature)",
            "the head is not signed by the coordinator",
        ),
        ("CREATE TABLE more (x)", "'more' is foreign"),
    ],
)
def test_a_damaged_ledger_is_not_continued(path, ledger, change, text):
    ledger.close()
    database = sqlite3.connect(path, isolation_level=None)
    database.execute(change)
    database.close()
    with pytest.raises(SettingError, match=f"^run_dir={path.parent}: .*damaged.*{text}"):
        Ledger.open(path, chains.COORDINATOR, chains.JOB)


def test_other_files_and_missing_folders_are_the_users_to_mend(path):
    path.write_text("no database, but long enough to be taken for one " * 10)
    with pytest.raises(
        SettingError, match=r"^run_dir=.*ledger\.db cannot be used: .*not a database"
    ):
        Ledger.open(path, chains.COORDINATOR, chains.JOB)
    with pytest.raises(
        SettingError, match=r"ledger\.db cannot be read as a ledger: .*not a database"
    ):
        read(path)
    with pytest.raises(SettingError, match=r"^run_dir=.*cannot be used: unable to open"):
        Ledger.open(path.parent / "missing" / "ledger.db", chains.COORDINATOR, chains.JOB)
    with pytest.raises(SettingError, match=r"does not exist: give the folder of a run"):
        read(path.parent / "missing" / "ledger.db")


def test_a_file_from_which_nothing_was_written_yet_is_taken_up(path):
    path.touch()
    with Ledger.open(path, chains.COORDINATOR, chains.JOB) as made:
        assert made.entries() == [] and made.last_round() is None


def as_nobody(task):
    """The exit status of a task in a process without a superuser's rights."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            task()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.timeout(60)
@pytest.mark.parametrize("files", [("",), ("", "-wal"), ("", "-wal", "-shm")])
def test_it_can_be_read_where_nothing_can_be_written(path, ledger, files):
    if files == ("",):
        ledger.close()
        count = 5
    else:
        chains.play(ledger, 1)
        count = len(ledger.entries())
    with tempfile.TemporaryDirectory() as folder:
        for name in files:
            shutil.copyfile(f"{path}{name}", f"{folder}/ledger.db{name}")
        before = sorted(os.listdir(folder))
        os.chmod(folder, 0o555)

        def task():
            with read(Path(folder, "ledger.db")) as reader:
                assert len(reader.entries()) == count
            assert not os.access(folder, os.W_OK)

        assert as_nobody(task) == 0
        assert sorted(os.listdir(folder)) == before
        os.chmod(folder, 0o755)


def test_reading_leaves_no_files_behind(path, ledger):
    ledger.close()
    with read(path) as reader:
        reader.entries()
    assert os.listdir(path.parent) == ["ledger.db"]


def test_a_reader_sees_one_moment(path, ledger):
    with read(path) as reader:
        chains.play(ledger, 1)
        assert len(reader.entries()) == 5 == reader.heads()[0][0]
