"""The record of one round: one line of metrics.jsonl, and what every monitor shows."""

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tdml.cluster.gather import Gathered
    from tdml.cluster.messages import TrainReport
    from tdml.trust.screen import Screening
    from tdml.trust.verdict import Verdict

LOST = "lost"
MARKS = {"honest": "✓", "suspicious": "?", "malicious": "✗", LOST: "–"}
NOT_FORMED = "·"
PHASES = ("broadcast", "train", "gather", "screen", "cross_check", "audit", "aggregate", "evaluate", "record")


class Stopwatch:
    """Seconds by phase."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time inside of the block to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    def read(self) -> dict[str, float]:
        """All phases and the total, rounded to milliseconds."""
        everything = {name: self.seconds[name] for name in PHASES}
        return {k: round(v, 3) for k, v in (everything | {"total": time.perf_counter() - self._start}).items()}


@dataclass
class ReplicaRecord:
    """One replica in one round. The verdict is "lost" where it handed in nothing; the reason says why."""

    verdict: str
    train_loss: float | None = None
    rank_mean: float | None = None
    rank_std: float | None = None
    reason: str = ""
    nodes: list[str] = field(default_factory=list)


@dataclass
class RoundRecord:
    """One round."""

    round: int
    replicas: dict[int, ReplicaRecord]
    accepted: list[int]
    test_accuracy: float | None
    test_loss: float | None
    bytes: dict[str, int]
    notes: list[str]  # what happened besides: replicas lost, spares seated
    seconds: dict[str, float] = field(default_factory=dict)  # by phase
    validation_accuracy: float | None = None  # where it is measured

    def to_json(self) -> dict[str, Any]:
        """The line of metrics.jsonl. Numbers that are not finite become null: JSON has none."""
        validated = {"validation_accuracy": finite(self.validation_accuracy)}
        return {
            "round": self.round,
            "test_accuracy": finite(self.test_accuracy),
            "test_loss": finite(self.test_loss),
            **(validated if self.validation_accuracy is not None else {}),
            "replicas": {str(index): _replica(record) for index, record in sorted(self.replicas.items())},
            "accepted": self.accepted,
            "seconds": self.seconds,
            "bytes": self.bytes,
            "notes": self.notes,
        }


def replica_records(
    losses: Mapping[int, str], reports: Mapping[int, "TrainReport"], found: "Gathered", overall: "Screening",
    verdicts: Mapping[int, "Verdict"], seats: Mapping[int, Sequence[str]],
) -> dict[int, ReplicaRecord]:  # fmt: skip
    """What became of each replica in a round.

    Args:
        losses: why a replica handed in nothing.
        overall: what the screen found of all that is in `found`.
        seats: the names of each replica's nodes, by stage.
    """
    records = {index: ReplicaRecord(LOST, reason=reason) for index, reason in losses.items()}
    for index, verdict in verdicts.items():
        records[index] = ReplicaRecord(
            verdict.status, reports[index].loss, reason=verdict.reason,
            nodes=[seats[index][stage] for stage in verdict.stages],
        )  # fmt: skip
    for row, index in enumerate(found.replicas):
        records[index].rank_mean = float(overall.moments.mean[row])
        records[index].rank_std = float(overall.moments.std[row])
    return records


def _replica(record: ReplicaRecord) -> dict[str, Any]:
    line = {
        "verdict": record.verdict,
        "train_loss": finite(record.train_loss),
        "rank_mean": finite(record.rank_mean),
        "rank_std": finite(record.rank_std),
        "reason": record.reason,
    }
    return line | ({"nodes": record.nodes} if record.nodes else {})


def finite(value: float | None) -> float | None:
    """The number, or None where it is none."""
    return value if value is not None and math.isfinite(value) else None
