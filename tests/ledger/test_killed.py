"""A ledger whose writer is killed at any moment opens again with all that was committed, and
nothing else."""

import os
import random
import signal
import time
from collections import Counter
from contextlib import contextmanager

import pytest

from tdml.ledger.chain import Ledger
from tdml.ledger.entry import by_round
from tdml.ledger.verify import verify
from tests.ledger import chains

KILLS, PER_LEDGER = 50, 5


def write_on(path, out):
    """Append rounds for ever: some entries alone, the commits together. Says every entry once it is
    committed."""
    ledger = Ledger.open(path, chains.COORDINATOR, chains.JOB)
    said, batch = len(ledger.entries()), ledger.batch

    @contextmanager
    def saying():
        nonlocal said
        with batch():
            yield
        for entry in ledger.entries()[said:]:
            os.write(out, f"{entry.index} {entry.hash}\n".encode())
            said += 1

    ledger.batch = saying
    if ledger.last_round() is None:
        chains.begin(ledger)
    else:
        ledger.resume(ledger.last_round())
    while True:
        round_number = ledger.last_round() + 1
        chains.before_commits(ledger, round_number)
        with ledger.batch():
            for node in (*chains.SLOTS["0"], *chains.SLOTS["1"]):
                chains.commit(ledger, round_number, node)
        chains.after_commits(ledger, round_number)


def killed_after(path, moment):
    """Start a writer and kill it at a random moment. Returns what it said, hashes by index."""
    source, out = os.pipe()
    writer = os.fork()
    if writer == 0:
        try:
            write_on(path, out)
        finally:
            os._exit(1)
    os.close(out)
    said, wanted = b"", moment.randrange(20)
    while said.count(b"\n") < wanted:
        part = os.read(source, 80)
        assert part, "the writer ended by itself"
        said += part
    time.sleep(moment.uniform(0, 0.02))  # the moment itself
    os.kill(writer, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]) == -signal.SIGKILL
    while rest := os.read(source, 4096):
        said += rest
    os.close(source)
    assert said.count(b"\n") == len(said.splitlines())
    return {
        int(index): hash for index, hash in (line.split() for line in said.decode().splitlines())
    }


@pytest.mark.timeout(120)
def test_fifty_kills_lose_no_committed_entry(tmp_path):
    moment, lengths, before = random.Random(4), [], []
    for kill in range(KILLS):
        path = tmp_path / f"{kill // PER_LEDGER}.db"
        before = before if kill % PER_LEDGER else []
        said = killed_after(path, moment)
        after = entries_of(path)
        assert after[: len(before)] == before
        assert all(after[index].hash == hash for index, hash in said.items())
        for part in by_round(after):
            assert Counter(entry.kind for entry in part)["commit"] in (0, 4)
        if after:
            assert verify(path, chains.PlainBook).entries == len(after)
        lengths.append(len(after) - len(before))
        before = after
    assert sum(lengths) > KILLS and len(set(lengths)) > 5  # the moments were not all alike
    for number in range(KILLS // PER_LEDGER):
        goes_on(tmp_path / f"{number}.db")


def entries_of(path):
    """All entries; none where the writer was killed before it had made the tables."""
    if not path.exists() or not os.path.getsize(path):
        return []
    with Ledger.open(path, chains.COORDINATOR, chains.JOB) as ledger:
        return ledger.entries()


def goes_on(path):
    """The ledger takes another round and an end."""
    with Ledger.open(path, chains.COORDINATOR, chains.JOB) as ledger:
        if ledger.last_round() is None:
            chains.begin(ledger)
        last = ledger.last_round()
        ledger.resume(last)
        chains.play(ledger, last + 1)
        ledger.end(chains.digest(f"weights {last + 1}"), "done")
    assert verify(path, chains.PlainBook).ended
