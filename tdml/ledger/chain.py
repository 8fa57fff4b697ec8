"""`ledger.db`: the append-only chain of a run, written by the coordinator.

A transaction is durable once it is committed: SQLite's write-ahead log with `synchronous=FULL`. The
table `head` holds the length of the chain and its last hash, signed, so that a chain whose end was
cut off is found.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tdml.common import merkle
from tdml.errors import SettingError, one_line
from tdml.ledger import bodies
from tdml.ledger.entry import START, Entry, chain_hash, check_head, is_signature, seal, sign_head
from tdml.ledger.reader import COLUMNS, SCHEMA, LedgerReader
from tdml.protocol.identity import Identity
from tdml.protocol.statement import Statement, canonical


@dataclass(frozen=True)
class _Tip:
    """Where the chain ends."""

    entries: int = 0
    hash: str = START
    leaves: tuple[str, ...] = ()  # hashes of the entries since the last root
    last_round: int | None = None
    ending: bool = False  # whether the open round is that of `end`

    def after(self, entry: Entry) -> "_Tip":
        """Where it ends once the entry is there."""
        tip = replace(
            self, entries=entry.index + 1, hash=entry.hash, leaves=(*self.leaves, entry.hash)
        )
        if entry.kind in ("resume", "rollback"):
            return replace(tip, leaves=(entry.hash,), last_round=entry.body["after"], ending=False)
        if entry.kind == "root":
            last_round = self.last_round if self.ending else entry.round
            return replace(tip, leaves=(), last_round=last_round, ending=False)
        return replace(tip, ending=self.ending or entry.kind == "end")


class Ledger(LedgerReader):
    """The chain of one run. One thread appends."""

    def __init__(
        self, path: Path, database: sqlite3.Connection, identity: Identity, job: str
    ) -> None:
        """Use `open`."""
        super().__init__(path, database)
        self._identity, self._job = identity, job
        self._tip = _Tip()

    @staticmethod
    def open(path: Path, identity: Identity, job: str) -> "Ledger":
        """Make the ledger of a job, or take it up again.

        Args:
            path: of `ledger.db`, in the run folder.
            identity: the coordinator's.
            job: the job's id.

        Raises:
            SettingError: it cannot be written, is damaged, or is of another coordinator or job.
        """
        try:
            database = _connect(path)
            try:
                ledger = Ledger(path, database, identity, job)
                ledger._take_up()
            except BaseException:
                database.close()
                raise
        except sqlite3.Error as error:
            raise SettingError(
                f"run_dir={path.parent}: {path.name} cannot be used: {one_line(error)}"
            ) from error
        return ledger

    def last_round(self) -> int | None:
        """The last round that is closed: 0 is what comes before the first, None not even that. A
        `resume` counts back."""
        return self._tip.last_round

    @property
    def length(self) -> int:
        """How many entries it has."""
        return self._tip.entries

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Append several entries in one transaction: all of them, or none if something is raised.

        Raises:
            OSError: the file cannot be written.
        """
        assert not self._database.in_transaction
        before = self._tip
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield
            head = (
                self._tip.entries,
                self._tip.hash,
                sign_head(self._tip.entries, self._tip.hash, self._identity),
            )
            self._database.execute("UPDATE head SET entries = ?, hash = ?, signature = ?", head)
            self._database.execute("COMMIT")
        except BaseException as error:
            self._fall_back(before)
            if isinstance(error, sqlite3.Error):
                raise OSError(f"{self.path}: {one_line(error)}") from error
            raise
        # so that whoever copies the file alone, while the run goes on or after it was killed, has
        # all of it, as far as no reader holds it
        with suppress(sqlite3.Error):
            self._database.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def append(self, round: int, kind: str, body: dict[str, Any]) -> Entry:
        """Add an entry of the coordinator's. Outside of `batch` it is durable on return.

        Raises:
            ValueError: the body is not what entries of this kind have.
            OSError: the file cannot be written.
        """
        statement = Statement(self._job, round, kind, self._identity.public, body)
        return self._add(statement, statement.sign(self._identity))

    def append_signed(self, statement: Statement, signature: str) -> Entry:
        """Add a node's own entry, which is a `commit`. Whether it is that node's turn is for the
        caller to know.

        Raises:
            ValueError: the signature is not the author's, the statement is of another job or kind,
                or its body is not what a commit has.
            OSError: the file cannot be written.
        """
        if statement.job != self._job or statement.kind != "commit":
            raise ValueError(f"a {statement.kind} of job {statement.job} is no commit of this job")
        if not is_signature(signature) or not statement.signed_by_author(signature):
            raise ValueError("the signature is not the author's")
        return self._add(statement, signature)

    def close_round(self, round: int) -> Entry:
        """Append the round's `root`: the Merkle root over the hashes of its entries."""
        leaves = self._tip.leaves
        return self.append(round, "root", {"entries": len(leaves), "root": merkle.root(leaves)})

    def resume(
        self,
        after: int,
        config: str | None = None,
        changed: Mapping[str, Sequence[Any]] | None = None,
    ) -> Entry:
        """Declare the rounds > `after` void. The entry belongs to round `after` + 1.

        Args:
            after: a closed round.
            config: SHA-256 of config.yaml, where it is another than before.
            changed: settings of the rounds to come that are others than before: both values of
                each.
        """
        body: dict[str, Any] = {"after": after}
        if config is not None:
            body["config"] = config
        if changed:
            body["changed"] = {key: list(values) for key, values in changed.items()}
        return self.append(after + 1, "resume", body)

    def roll_back(self, after: int, reason: str) -> Entry:
        """Go on from the weights after a closed round; the entry belongs to round `after` + 1."""
        return self.append(after + 1, "rollback", {"after": after, "reason": reason})

    def end(
        self, model: str, reason: str, owing: Sequence[str] = (), postings: Sequence[dict] = ()
    ) -> Entry:
        """Say that the run is over, once model.pt is written. The entry has a round of its own
        after the last, which is closed at once: so every entry is under the root of its round.

        Args:
            model: digest of the weights in model.pt.
            reason: why it is over.
            owing: keys of those who have not shown work that they were asked for.
            postings: that are due.
        """
        assert self._tip.last_round is not None
        body: dict[str, Any] = {"model": model, "reason": reason}
        if owing:
            body["owing"] = list(owing)
        with self.batch():
            entry = self.append(self._tip.last_round + 1, "end", body)
            if postings:
                self.append(entry.round, "rewards", {"postings": list(postings)})
            self.close_round(entry.round)
        return entry

    def _add(self, statement: Statement, signature: str) -> Entry:
        bodies.check(statement.kind, statement.body)
        if not self._database.in_transaction:
            with self.batch():
                return self._add(statement, signature)
        digest = chain_hash(self._tip.entries, self._tip.hash, statement, signature)
        said = (statement.job, statement.round, statement.kind, statement.author)
        proof = (signature, self._tip.hash, digest, seal(digest, self._identity))
        row = (self._tip.entries, *said, canonical(statement.body).decode(), *proof)
        self._database.execute(f"INSERT INTO entries ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)", row)
        entry = Entry(self._tip.entries, *said, statement.body, *proof)
        self._tip = self._tip.after(entry)
        return entry

    def _take_up(self) -> None:
        if not self._database.execute("SELECT 1 FROM sqlite_master").fetchone():
            self._make()
        damage = self.fault() or self._follow()
        if damage:
            raise SettingError(
                f"run_dir={self.path.parent}: {self.path.name} is damaged, so no run can go on "
                f"with it: {damage}. Start a new run with resume=false"
            )

    def _make(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        for table in SCHEMA.values():
            self._database.execute(table)
        signature = sign_head(0, START, self._identity)
        self._database.execute("INSERT INTO head VALUES (?, ?, ?)", (0, START, signature))
        self._database.execute("COMMIT")

    def _follow(self) -> str:
        """Go along the chain to its end. Returns what is wrong on the way; signatures are for
        `verify`, but for that of the head: with it, the hashes vouch for all that was signed."""
        try:
            entries = self.entries()
            for entry in entries:
                entry.check_link(self._tip.entries, self._tip.hash)
                self._tip = self._tip.after(entry)
        except ValueError as error:
            return one_line(error)
        if entries:
            self._check_ours(entries[0])
        try:
            check_head(self.heads(), self._tip.entries, self._tip.hash, self._identity.public)
        except ValueError as error:
            return str(error)
        return ""

    def _check_ours(self, first: Entry) -> None:
        if first.job != self._job:
            raise SettingError(
                f"run_dir={self.path.parent}: its ledger is of another job: start with resume=false"
            )
        check_author(self.path.parent, first, self._identity.public)

    def _fall_back(self, before: _Tip) -> None:
        """After a failure, follow the file: an interrupt may come when the commit is already
        done."""
        try:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            committed = self._database.execute("SELECT entries FROM head").fetchone() == (
                self._tip.entries,
            )
        except sqlite3.Error:
            committed = False
        if not committed:
            self._tip = before


def check_author(run: Path, first: Entry, public: str) -> None:
    """Raises:
    SettingError: the first entry of a run's ledger is not of the coordinator with that key.
    """
    if first.author != public:
        raise SettingError(
            f"identity.folder: run_dir={run} was begun with another coordinator's key: give the "
            "folder that holds it, or start with resume=false"
        )


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    try:
        [(mode,)] = database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        if mode != "wal":
            raise sqlite3.OperationalError(
                "this file system cannot hold a write-ahead log: choose a local folder"
            )
    except BaseException:
        database.close()
        raise
    return database
