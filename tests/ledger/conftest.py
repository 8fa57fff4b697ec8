"""Ledgers that several files of tests begin with."""

from functools import lru_cache
from pathlib import Path

import pytest

from tdml.ledger import entry as entry_module
from tdml.ledger.chain import Ledger
from tdml.ledger.reader import read
from tdml.ledger.verify import verify
from tdml.protocol import identity
from tdml.protocol import statement as statement_module
from tdml.run.start_recorder import begin
from tests.ledger import chains
from tests.ledger.chains import COORDINATOR, JOB, PUBLIC, job_body
from tests.ledger.recorders import take_up


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of the ledger."""
    return tmp_path / "ledger.db"


@pytest.fixture
def recorder(path: Path):
    """At the start of a job."""
    ledger = Ledger.open(path, COORDINATOR, JOB)
    begin(ledger, job_body(), {"keys": PUBLIC, "given": False, "refused": {}})
    made = take_up(ledger, path)
    yield made
    made.close()


@pytest.fixture
def ledger(path):
    """A ledger with rounds 0 and 1, in the second of which r1.s1 was banned."""
    with Ledger.open(path, chains.COORDINATOR, chains.JOB) as made:
        chains.begin(made)
        chains.play(made, 1, blamed=["r1.s1"])
        yield made


@pytest.fixture(scope="module")
def remembered_signatures():
    """For tests that check the same signatures a thousand times."""
    patch = pytest.MonkeyPatch()
    remembered = lru_cache(maxsize=None)(identity.verify_signature)
    for module in (statement_module, entry_module):
        patch.setattr(module, "verify_signature", remembered)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def small(tmp_path_factory, remembered_signatures):
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
