"""The notary: writes down in the ledger what happens in a run, and settles what is paid for it."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import torch

from tdml.cluster.messages import Commitment
from tdml.identity import Identity
from tdml.ledger.artifacts import Store
from tdml.ledger.chain import Ledger
from tdml.ledger.commit import commit_statement
from tdml.ledger.statement import canonical
from tdml.ledger.weights import digest_of_weights
from tdml.rewards.accounts import Book
from tdml.trust.audit import Outcome
from tdml.trust.verdict import Verdict

Seats = Mapping[int, Sequence[str]]  # the names of a replica's nodes, by stage


class Notary:
    """Keeps the ledger of one job, and the book of accounts that follows from it.

    A round is two transactions: one that opens it, with the hash of its secret, before any work, and one with all the
    rest, when it is over. Both are durable before anything else happens.
    """

    def __init__(
        self, ledger: Ledger, book: Book, artifacts: Store, identity: Identity, job: str, keys: Mapping[str, str]
    ) -> None:
        """`keys` are the nodes' public keys, by name."""
        self._ledger, self._book, self._artifacts = ledger, book, artifacts
        self._identity, self._job, self._keys = identity, job, keys
        self._plays = Counter(entry.round for entry in ledger.entries(kind="round"))  # how often each was opened

    def secret(self, round_number: int) -> int:
        """The seed of all that nobody may foresee in a round: who is checked and audited, by whom, and on what."""
        return int.from_bytes(self._secret(round_number)[:8], "big")

    def open_round(self, round_number: int, weights: str, seats: Seats) -> None:
        """Before any work: the hash of the secret, the digest of the global weights, and who sits where."""
        self._plays[round_number] += 1
        hashed = hashlib.sha256(self._secret(round_number)).hexdigest()
        named = {str(index): list(names) for index, names in seats.items()}
        self._ledger.append(round_number, "round", {"secret": hashed, "weights": weights, "seats": named})

    def close_round(
        self, round_number: int, seats: Seats, *, commitments: Mapping[int, Sequence[Commitment]],
        suspicions: Mapping[int, str],
        verdicts: Mapping[int, Verdict], lost: Mapping[int, str], outcomes: Mapping[int, Outcome],
        refusals: Iterable[tuple[str, str]], bans: Mapping[str, str], samples: Mapping[int, int],
        improvements: Mapping[int, int], weights: str,
    ) -> None:  # fmt: skip
        """All that has happened in a round.

        Args:
            commitments: by replica and stage; only those that their nodes have signed.
            suspicions: what the screen says, of those whom it suspects.
            lost: why a replica handed in nothing.
            refusals: node, or "" where nobody can be named, and what was refused.
            bans: why, by node; those that earlier rounds have banned are passed over.
            samples, improvements: of each replica's update.
            weights: digest of the new global weights.

        Raises:
            OSError: it cannot be written.
            SettingError: what a conviction rests on cannot be kept where `ledger.artifacts` says.
        """
        exhibits = {index: self._keep(outcome.exhibit) for index, outcome in outcomes.items()}
        banned_now = {node: reason for node, reason in bans.items() if self._keys[node] not in self._book.convicted}
        with self._ledger.batch():
            for index, stages in sorted(commitments.items()):
                self._write_commits(round_number, seats[index], stages)
            self._write(round_number, "reveal", {"secret": self._secret(round_number).hex()})
            self._write_findings(round_number, seats, suspicions, verdicts, outcomes, exhibits)
            for index, names in sorted(seats.items()):
                said = _verdict(index, names, verdicts.get(index), lost.get(index, ""))
                said |= {"samples": samples.get(index, 0), "improvement": improvements.get(index, 0)}
                self._write(round_number, "verdict", said)
            for node, what in refusals:
                self._write(round_number, "refusal", {"node": node, "what": what})
            for node, reason in banned_now.items():
                self._write(round_number, "ban", {"node": node, "key": self._keys[node], "reason": reason})
            self._write(round_number, "rewards", {"postings": self._book.settle(round_number)})
            self._write(round_number, "weights", {"digest": weights})
            root = self._ledger.close_round(round_number)
            self._book.apply(root.kind, root.round, root.body)

    def end(self, model: Mapping[str, torch.Tensor], reason: str) -> None:
        """The run is over, and its model, a plain state dict, is written."""
        self._artifacts.put_tensors(dict(model))
        self._ledger.end(digest_of_weights(model), reason)

    def close(self) -> None:
        """Let the file go."""
        self._ledger.close()

    def _secret(self, round_number: int) -> bytes:
        """32 bytes that nobody else can know before they are revealed, others each time that a round is played. The
        coordinator cannot choose them either: of a message its key has but one signature."""
        play = {"round": round_number, "play": self._plays[round_number]}
        message = canonical({"purpose": "secret", "job": self._job, **play})
        return hashlib.sha256(bytes.fromhex(self._identity.sign(message))).digest()

    def _keep(self, exhibit: Mapping[str, torch.Tensor]) -> dict[str, str]:
        return {"states": self._artifacts.put_tensors(dict(exhibit))} if exhibit else {}

    def _write(self, round_number: int, kind: str, body: dict) -> None:
        self._ledger.append(round_number, kind, body)
        self._book.apply(kind, round_number, body)

    def _write_findings(
        self, round_number: int, seats: Seats, suspicions: Mapping[int, str], verdicts: Mapping[int, Verdict],
        outcomes: Mapping[int, Outcome], exhibits: Mapping[int, dict[str, str]],
    ) -> None:  # fmt: skip
        """What screen, cross-check and audit have found, in this order."""
        for index, reason in sorted(suspicions.items()):
            said = {"replica": index, "nodes": list(seats[index]), "reason": reason}
            self._write(round_number, "suspicion", said)
        for index, verdict in sorted(verdicts.items()):
            if verdict.judges:
                self._write(round_number, "evidence", _evidence(index, seats[index], verdict))
        for index, outcome in sorted(outcomes.items()):
            self._write(round_number, "audit", _audit(index, seats, outcome) | {"artifacts": exhibits[index]})

    def _write_commits(self, round_number: int, names: Sequence[str], stages: Sequence[Commitment]) -> None:
        for name, made in zip(names, stages, strict=True):
            statement = commit_statement(self._job, round_number, self._keys[name], name, made)
            self._ledger.append_signed(statement, made.signature)


def _evidence(index: int, names: Sequence[str], verdict: Verdict) -> dict:
    return {
        "replica": index, "nodes": list(names), "against": verdict.against, "total": verdict.evidence,
        "reason": verdict.reason, "judges": list(verdict.judges),
    }  # fmt: skip


def _audit(index: int, seats: Seats, outcome: Outcome) -> dict:
    rulings = sorted(outcome.rulings.items())
    asked = sorted({validator for _, ruling in rulings for validator in ruling.validators})
    findings = [
        {
            "window": window, "result": ruling.result, "error": _json_number(ruling.error),
            "limit": _json_number(ruling.limit), "contradicted": list(ruling.dissenters),
            "unsteady": list(ruling.unsteady),
        }
        for window, ruling in rulings
    ]  # fmt: skip
    return {
        "replica": index, "nodes": list(seats[index]), "windows": [window for window, _ in rulings],
        "validators": {str(v): [w for w, ruling in rulings if v in ruling.validators] for v in asked},
        "outcome": outcome.result, "reason": outcome.reason, "findings": findings,
        "blamed": [seats[index][stage] for stage in outcome.blamed],
        "disputes": _named(seats[index], outcome.disputes),
        "absent": [seats[index][stage] for stage in outcome.absent],
        "erratic": [seats[index][stage] for stage in outcome.erratic],
    }  # fmt: skip


def _verdict(index: int, names: Sequence[str], verdict: Verdict | None, lost: str) -> dict:
    said = {"replica": index, "nodes": list(names)}
    if verdict is None:
        return said | {"status": "lost", "reason": lost, "blamed": []}
    return said | {
        "status": verdict.status, "reason": verdict.reason, "blamed": [names[stage] for stage in verdict.stages],
        "perjured": [names[stage] for stage in verdict.perjured],
        "disputes": _named(names, verdict.disputes),
        "absent": [names[stage] for stage in verdict.absent],
        "erratic": [names[stage] for stage in verdict.erratic],
    }  # fmt: skip


def _named(names: Sequence[str], disputes: Iterable[tuple[int, int]]) -> list[list[str]]:
    return [[names[one], names[other]] for one, other in disputes]


def _json_number(value: float) -> float | str:
    """JSON knows no infinity."""
    return value if value < float("inf") else "infinite"
