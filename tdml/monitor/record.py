"""One line of metrics.jsonl, and what every monitor shows of a round."""

from collections.abc import Iterable
from typing import Any

from tdml.round.result import Round
from tdml.trust.judgement import LOST, Judgement

MARKS = {"honest": "✓", "suspicious": "?", "malicious": "✗", LOST: "–"}
NOT_FORMED = "·"
_LARGEST = 1e300  # with more neither a mean can be taken nor a figure be drawn
LEGEND = [*(f"{mark} {verdict}" for verdict, mark in MARKS.items()), f"{NOT_FORMED} not formed"]


def line_of(played: Round) -> dict[str, Any]:
    """The line of metrics.jsonl. Numbers that are not finite become null: JSON has none."""
    tested = {f"test_{name}": finite(value) for name, value in played.test.items()}
    validated = {f"validation_{name}": finite(value) for name, value in played.validation.items()}
    replicas = {
        str(index): _replica(judgement, played.steps.get(index))
        for index, judgement in sorted(played.judgements.items())
    }
    return {
        "round": played.number, **tested, **validated,
        "replicas": replicas, "accepted": played.accepted, "banned": sorted(played.bans),
        "seconds": played.seconds, "bytes": played.bytes,
        "spent": round(played.spent, 3), "notes": played.notes,
    }  # fmt: skip


def headline(line: dict[str, Any]) -> str:
    """The name of the metric that a round is known by, in a line of metrics.jsonl: the task's
    first, else the loss."""
    return next(name.removeprefix("test_") for name in line if name.startswith("test_"))


def ranked(line: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The replicas of a line of metrics.jsonl that were ranked, by their names in it."""
    return {k: r for k, r in line["replicas"].items() if r["rank_mean"] is not None}


def replicas_of(lines: Iterable[dict[str, Any]]) -> list[str]:
    """All replicas of some lines, as these name them, in their order."""
    return sorted({name for line in lines for name in line["replicas"]}, key=int)


def form_of(metric: str) -> str:
    """How a number of it is written: shares with three digits behind the point, others with four in
    all."""
    return ".3f" if metric.endswith("accuracy") else ".4g"


def _replica(judgement: Judgement, steps: int | None) -> dict[str, Any]:
    line = {
        "verdict": judgement.status, "steps": steps, "train_loss": finite(judgement.train_loss),
        "rank_mean": finite(judgement.rank_mean), "rank_std": finite(judgement.rank_std),
        "reason": judgement.reason, "weight": judgement.weight, "scale": judgement.scale,
    }  # fmt: skip
    return line | ({"nodes": list(judgement.blamed)} if judgement.blamed else {})


def finite(value: float | None) -> float | None:
    """The number, or None where it is none, or so large that only a liar can have said it."""
    return value if value is not None and abs(value) <= _LARGEST else None
