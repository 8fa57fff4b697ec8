"""A recorder of a job, and rounds as the engine hands them to it, without processes."""

import math
from dataclasses import replace
from pathlib import Path

import torch

from tdml.ledger.artifacts import ArtifactStore
from tdml.ledger.chain import Ledger
from tdml.ledger.commit import commit_statement
from tdml.ledger.reader import read
from tdml.protocol.identity import Identity
from tdml.protocol.orders import Commitment
from tdml.rewards.accounts import book_of
from tdml.round.recorder import Recorder
from tdml.round.result import Round
from tdml.trust.judgement import Judgement
from tests.ledger.chains import COORDINATOR, JOB, KEYS, PUBLIC, SLOTS, digest

POOL = 1_000
BY_REPLICA = {0: tuple(SLOTS["0"]), 1: tuple(SLOTS["1"])}
MODEL = {"weight": torch.arange(3.0)}


def take_up(ledger: Ledger, path: Path) -> Recorder:
    """A recorder that goes on with what is in the ledger."""
    book = book_of((entry.round, entry.kind, entry.body) for entry in ledger.entries())
    return Recorder(
        ledger, book, ArtifactStore(str(path.parent / "store")), COORDINATOR, JOB, PUBLIC
    )


def commitment(number: int, play: str, node: str, signer: Identity) -> Commitment:
    made = Commitment(digest(f"update {number} {node}"), "", (), "")
    statement = commit_statement(JOB, number, play, KEYS[node].public, node, made)
    return replace(made, signature=signer.sign(statement.encode()))


def honest(replica: int) -> Judgement:
    return Judgement(
        replica, BY_REPLICA[replica], "honest", weight=1.0, samples=64, distance=0.5, p=0.001
    )


def played(number: int, **changes) -> Round:
    """A round in which all are honest unless `changes` say otherwise."""
    said = {
        "judgements": {i: honest(i) for i in BY_REPLICA}, "weights": digest(f"weights {number}"),
    }  # fmt: skip
    return Round(number, **{"slots": BY_REPLICA} | said | changes)


def play(recorder: Recorder, number: int, refusals=(), signers=KEYS, **changes) -> None:
    """Open it and close it. Who is not lost has committed, each with the key of `signers`."""
    round_ = played(number, **changes)
    recorder.open_round(number, digest(f"weights {number - 1}"), round_.slots)
    name = recorder.play(number)
    for index, judgement in round_.judgements.items():
        if judgement.status != "lost":
            nodes = judgement.nodes
            made = [commitment(number, name, node, signers[node]) for node in nodes]
            round_.commitments[index] = made
    recorder.close_round(round_, refusals)


def bodies(path: Path, kind: str, number: int | None = None) -> list[dict]:
    with read(path) as reader:
        entries = reader.entries(kind)
    return [entry.body for entry in entries if number in (None, entry.round)]


def balances(path: Path) -> dict[str, int]:
    with read(path) as reader:
        return book_of((entry.round, entry.kind, entry.body) for entry in reader.entries()).balances


LIE = Judgement(
    1, BY_REPLICA[1], "malicious", "audit", blamed=("r1.s1",), samples=64, distance=math.inf
)
CONVICTED = {"judgements": {0: honest(0), 1: LIE}, "bans": {"r1.s1": "audit"}}
