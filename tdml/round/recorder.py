"""The recorder: writes what happens in a run into the ledger, and settles what is paid for it."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from tdml.ledger.artifacts import ArtifactStore
from tdml.ledger.chain import Ledger
from tdml.ledger.commit import commit_statement
from tdml.members.roster import Roster
from tdml.protocol.identity import Identity
from tdml.protocol.orders import Commitment
from tdml.protocol.statement import canonical
from tdml.rewards.accounts import Accounts
from tdml.round.result import Round
from tdml.round.settlement import Settlement
from tdml.trust.judgement import Audited, Judgement


class Recorder:
    """Keeps the ledger of one job, and the book of accounts that follows from it.

    A round is two transactions: one that opens it, with the hash of its secret, before any work,
    and one with all the rest, when it is over. Both are durable before anything else happens.
    """

    def __init__(
        self,
        ledger: Ledger,
        book: Accounts,
        artifacts: ArtifactStore,
        identity: Identity,
        job: str,
        keys: Mapping[str, str],
    ) -> None:
        """`keys` are the nodes' public keys, by name."""
        self._ledger, self._book, self._artifacts = ledger, book, artifacts
        self._identity, self._job, self._keys = identity, job, keys
        # how often each round was opened
        self._plays = Counter(entry.round for entry in ledger.entries(kind="round"))

    def secret(self, round_number: int) -> int:
        """The seed of all draws of a round that nobody may foresee: who is tested and audited, by
        whom, and on what."""
        return int.from_bytes(self._secret(round_number)[:8], "big")

    def play(self, round_number: int) -> str:
        """The id of this play of a round: the hash of its secret, in hex."""
        return hashlib.sha256(self._secret(round_number)).hexdigest()

    def admit(self, round_number: int, roster: Roster) -> None:
        """Write down who takes part from this round on. New keys put down their stakes in it."""
        self._write(round_number, "roster", roster.body)

    def open_round(
        self,
        round_number: int,
        weights: str,
        slots: Mapping[int, Sequence[str]],
        present: Iterable[str] = (),
        fewer: Mapping[int, int] | None = None,
    ) -> None:
        """Begin a round, before any work is done.

        Args:
            weights: the digest of the global weights.
            slots: names of nodes, by replica and stage.
            present: names of all nodes that are there, with slots or without.
            fewer: the steps of replicas that take fewer than all.
        """
        self._plays[round_number] += 1
        named = {str(index): list(names) for index, names in slots.items()}
        body: dict[str, Any] = {
            "secret": self.play(round_number),
            "weights": weights,
            "slots": named,
        }
        placed = {name for names in named.values() for name in names}
        if standby := sorted(set(present) - placed):
            body["standby"] = standby
        if fewer:
            body["steps"] = {str(index): steps for index, steps in fewer.items()}
        self._ledger.append(round_number, "round", body)

    def close_round(self, played: Round, refusals: Iterable[tuple[str, str]]) -> None:
        """Write down all that has happened in a round, and settle its pay.

        Args:
            refusals: node, or "" where nobody can be named, and what was refused.

        Raises:
            OSError: it cannot be written.
        """
        number = played.number
        banned_now = {
            node: why
            for node, why in played.bans.items()
            if self._keys[node] not in self._book.convicted
        }
        with self._ledger.batch():
            for index, stages in sorted(played.commitments.items()):
                self._write_commits(number, played.slots[index], stages)
            self._write(number, "reveal", {"secret": self._secret(number).hex()})
            for index, audited in sorted(played.audits.items()):
                disputes = [_dispute(each) for each in played.settlements if each.replica == index]
                self._write(number, "audit", _audit(index, played.slots[index], audited, disputes))
            for _, judgement in sorted(played.judgements.items()):
                self._write(number, "verdict", _verdict(judgement, played))
            for node, what in refusals:
                self._write(number, "refusal", {"node": node, "what": what})
            for node, reason in banned_now.items():
                self._write(
                    number, "ban", {"node": node, "key": self._keys[node], "reason": reason}
                )
            self._write(number, "rewards", {"postings": self._book.settle(number)})
            self._write(number, "weights", {"digest": played.weights})
            root = self._ledger.close_round(number)
            self._book.apply(root.kind, root.round, root.body)

    def keep(self, exhibit: dict[str, torch.Tensor]) -> dict[str, str]:
        """Write the evidence of a conviction to the artifacts at once: it may be too large to be
        held in memory. Returns the file's digest, by its name.

        Raises:
            SettingError: it cannot be kept where `ledger.artifacts` says.
        """
        return {"truth": self._artifacts.put_tensors(exhibit)}

    @property
    def entries(self) -> int:
        """How many entries the ledger has."""
        return self._ledger.length

    def roll_back(self, after: int, reason: str) -> None:
        """Write down that the run goes on from the weights after an earlier round."""
        self._ledger.roll_back(after, reason)

    def end(self, number: int, model: str, reason: str, owing: Iterable[str]) -> None:
        """Write down that the run is over.

        Args:
            number: of the last round.
            model: the digest of the model, which is written already.
            owing: keys of nodes that have not shown work that they were asked for.
        """
        keys = sorted(owing)
        self._book.apply("end", number + 1, {"owing": keys})
        self._ledger.end(model, reason, keys, self._book.settle(number + 1))

    def close(self) -> None:
        """Close the ledger's file."""
        self._ledger.close()

    def _secret(self, round_number: int) -> bytes:
        """The secret of a round, 32 bytes: a hash of the coordinator's own signature, so nobody
        else can know it, and the coordinator cannot choose it. Each play has another."""
        play = {"round": round_number, "play": self._plays[round_number]}
        message = canonical({"purpose": "secret", "job": self._job, **play})
        return hashlib.sha256(bytes.fromhex(self._identity.sign(message))).digest()

    def _write(self, round_number: int, kind: str, body: dict) -> None:
        self._ledger.append(round_number, kind, body)
        self._book.apply(kind, round_number, body)

    def _write_commits(
        self, round_number: int, names: Sequence[str], stages: Sequence[Commitment]
    ) -> None:
        play = self.play(round_number)
        for name, commitment in zip(names, stages, strict=True):
            statement = commit_statement(
                self._job, round_number, play, self._keys[name], name, commitment
            )
            self._ledger.append_signed(statement, commitment.signature)


def _audit(index: int, names: Sequence[str], audited: Audited, disputes: list[dict]) -> dict:
    outcome = "lied" if audited.lied else "unsettled" if audited.unsettled else "clean"
    return {
        "replica": index, "nodes": list(names), "outcome": outcome, "reason": audited.unsettled,
        "validators": {
            str(window): validator for window, validator in sorted(audited.validators.items())
        },
        "disputes": disputes,
    }  # fmt: skip


def _dispute(settlement: Settlement) -> dict:
    return {
        "window": settlement.window, "validator": settlement.validator, "place": settlement.place,
        "blamed": list(settlement.blamed), "unsettled": settlement.unsettled,
        "artifacts": dict(settlement.artifacts),
    }  # fmt: skip


def _verdict(judgement: Judgement, played: Round) -> dict:
    body: dict[str, Any] = {
        "replica": judgement.replica, "nodes": list(judgement.nodes), "status": judgement.status,
        "reason": judgement.reason, "blamed": list(judgement.blamed), "weight": judgement.weight,
        "scale": judgement.scale, "distance": _finite(judgement.distance), "p": judgement.p,
        "proven": judgement.verified, "samples": judgement.samples,
        "improvement": judgement.improvement,
    }  # fmt: skip
    if judgement.repeated:
        body["repeated"] = judgement.repeated
    if judgement.unfound:
        body["unfound"] = True
    if own := [name for name in judgement.nodes if name in played.forgiven]:
        body["forgiven"] = own
    return body


def _finite(value: float) -> float | None:
    """JSON knows no infinity."""
    return value if math.isfinite(value) else None
