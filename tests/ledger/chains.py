"""Small ledgers for the tests, written as a run writes them."""

import hashlib
from pathlib import Path

import pytest

from tdml import config as settings
from tdml.ledger.chain import Ledger
from tdml.ledger.verify import Wrong, verify
from tdml.protocol.identity import Identity, _of_job
from tdml.protocol.statement import Statement
from tdml.settings.file import to_yaml

POOL = 1000
SECRET = "ab" * 32
PLAY = hashlib.sha256(bytes.fromhex(SECRET)).hexdigest()
NODES = ("r0.s0", "r0.s1", "r1.s0", "r1.s1", "spare0")
SLOTS = {"0": ["r0.s0", "r0.s1"], "1": ["r1.s0", "r1.s1"]}


def digest(text):
    """SHA-256, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def key(number):
    """A key that is the same in every test."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Identity(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


COORDINATOR = key(255)
JOB = "5e" * 16 + _of_job("5e" * 16, COORDINATOR.public)
KEYS = {name: key(number) for number, name in enumerate(NODES)}
PUBLIC = {name: identity.public for name, identity in KEYS.items()}
CONFIG = to_yaml(
    settings.load(["name=test", "rounds=3", "topology.replicas=2", "topology.stages=2",
                   f"rewards.pool={POOL}", "rewards.stake=500", "trust.budget=0.5"])
).encode()  # fmt: skip


class PlainBook:
    """Accounts that only know that each round pays out the pool, to keys of the roster."""

    def __init__(self, job, roster):
        self.pool, self.keys, self.paid = job["pool"], set(roster["keys"].values()), 0

    def apply(self, kind, round, body):
        """Check a round's postings."""
        if kind == "roster":
            self.keys |= set(body["keys"].values())
        if kind != "rewards":
            return
        if not all(posting["to"].partition(":")[2] in self.keys for posting in body["postings"]):
            raise ValueError("a stranger is paid")
        amount = sum(posting["amount"] for posting in body["postings"])
        if amount != (self.pool if round else 0):
            raise ValueError(f"{amount} units are paid, not {self.pool}")
        self.paid += amount

    def snapshot(self):
        """The balance."""
        return self.paid

    def restore(self, snapshot):
        """Take it back."""
        self.paid = snapshot


def begin(ledger, **changes):
    """Round 0."""
    with ledger.batch():
        ledger.append(0, "job", job_body() | changes)
        keys = {name: identity.public for name, identity in KEYS.items()}
        ledger.append(0, "roster", {"keys": keys, "given": False, "refused": {}})
        ledger.append(0, "rewards", {"postings": []})
        ledger.append(0, "weights", {"digest": digest("weights 0")})
        ledger.close_round(0)


def job_body():
    """What the first entry says."""
    return {
        "name": "test", "version": "0.2.0", "config": hashlib.sha256(CONFIG).hexdigest(),
        "coordinator": COORDINATOR.public, "rounds": 3, "replicas": 2, "stages": 2,
        "policy": "work", "pool": POOL, "stake": 500, "audit_chance": 0.25,
        "shares": [600_000, 400_000], "samples": [64, 64],
    }  # fmt: skip


def commit_body(round, node):
    """What a node commits to."""
    return {"node": node, "play": PLAY, "update": digest(f"{node} {round}"), "states": ""}


def commit(ledger, round, node, identity=None):
    """A node's commit, signed by its own key or another."""
    identity = identity or KEYS[node]
    statement = Statement(JOB, round, "commit", identity.public, commit_body(round, node))
    return ledger.append_signed(statement, statement.sign(identity))


def commit_all(ledger, round, slots=SLOTS):
    """The commits of all who have a slot."""
    for nodes in slots.values():
        for node in nodes:
            commit(ledger, round, node)


def before_commits(ledger, round, slots=SLOTS, weights=None):
    """A round's first entry."""
    body = {"secret": PLAY, "weights": weights or digest(f"weights {round - 1}"), "slots": slots}
    ledger.append(round, "round", body)


def verdict(**changes):
    """On replica 0."""
    said = {
        "replica": 0, "nodes": SLOTS["0"], "status": "lost", "reason": "", "blamed": [],
        "weight": 1.0, "scale": 1.0, "distance": 0.5, "p": None, "proven": False, "samples": 0,
        "improvement": 0,
    }  # fmt: skip
    return said | changes


def after_commits(ledger, round, blamed=(), weights=None, slots=SLOTS):
    """The rest of a round. The replica of the blamed node is malicious."""
    ledger.append(round, "reveal", {"secret": SECRET})
    replica = {"replica": 1, "nodes": slots["1"]}
    if blamed:
        dispute = {
            "window": 2,
            "validator": 0,
            "place": "the state of stage 1 after step 7",
            "blamed": list(blamed),
        }
        dispute |= {"unsettled": "", "artifacts": {"truth": digest("state")}}
        audit = {"validators": {"2": 0}, "outcome": "lied", "reason": "", "disputes": [dispute]}
        ledger.append(round, "audit", replica | audit)
    honest = verdict(status="honest", samples=64)
    ledger.append(round, "verdict", honest)
    status = "malicious" if blamed else "honest"
    ledger.append(round, "verdict", honest | replica | {"status": status, "blamed": list(blamed)})
    for node in blamed:
        ledger.append(
            round, "ban", {"node": node, "key": KEYS[node].public, "reason": "its audit failed"}
        )
    posting = {
        "from": "mint",
        "to": f"credit:{KEYS['r0.s0'].public}",
        "amount": POOL,
        "why": "work",
    }
    ledger.append(round, "rewards", {"postings": [posting]})
    ledger.append(round, "weights", {"digest": weights or digest(f"weights {round}")})
    ledger.close_round(round)


def play(ledger, round, blamed=(), slots=SLOTS):
    """A whole round."""
    with ledger.batch():
        before_commits(ledger, round, slots)
        commit_all(ledger, round, slots)
        after_commits(ledger, round, blamed, slots=slots)


def write(path: Path):
    """A run that was broken off in round 3, resumed after round 1, caught a node in round 2 and
    ended."""
    with Ledger.open(path, COORDINATOR, JOB) as ledger:
        begin(ledger)
        play(ledger, 1)
        play(ledger, 2)
        before_commits(ledger, 3)
        ledger.resume(1)
        play(ledger, 2, blamed=["r1.s1"])
        play(ledger, 3, slots={"0": SLOTS["0"], "1": ["r1.s0", "spare0"]})
        ledger.end(digest("weights 3"), "all 3 rounds done")


def fault_of(ledger):
    """What is wrong with a ledger, at its last entry."""
    with pytest.raises(Wrong) as error:
        verify(ledger.path, PlainBook)
    number, _, text = str(error.value).partition(": ")
    assert number.startswith(f"entry {ledger.entries()[-1].index} ("), error.value
    return text


def join(ledger, *names):
    """Some have come before round 2."""
    keys = PUBLIC | {name: digest(name) for name in names}
    ledger.append(2, "roster", {"keys": keys, "given": False, "refused": {}})
