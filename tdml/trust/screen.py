"""The screen: who stands out among the updates of a round, and whether anyone does at all.

Plain MANDERA always splits the replicas in two, so in a clean round it accuses someone. Here a gate comes
first: a replica is suspect only if it departs from its peers further than honest replicas do. What is
compared, for each replica with the others:

- spread, level, size and direction of its update (`tdml.trust.departures`).
- likeness: two replicas that trained on different data never hand in the same numbers. Of a group of
  equals all but one at most are copies; which one, if any, is not is left to the cross-check.
- buffers, where a stage has any: an update of statistics such as BatchNorm's that is many times the size of its
  peers' is guilty (`tdml.trust.buffers`).

Attackers distort what the others are measured by. So whoever is found guilty, and all but one of a group of
equals, is set aside and the rest are compared again among themselves.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from tdml.trust.buffers import miscounted, oversized
from tdml.trust.departures import find_departures, measure
from tdml.trust.ranking import Moments, RankSums, rank_sums
from tdml.trust.thresholds import ALIKE, Thresholds

_BLOCK = 1 << 15  # coordinates multiplied at a time
_EQUAL = 1e-12  # of the squared size: rounding, and nothing else
LEAST_REPLICAS = 3  # of fewer, ranking says nothing


@dataclass(frozen=True)
class Features:
    """Sums over coordinates that the screen needs. Features of disjoint coordinates can be added."""

    ranks: RankSums
    products: torch.Tensor  # (n, n) float64: scalar products of the updates

    def __add__(self, other: "Features") -> "Features":
        return Features(self.ranks + other.ranks, self.products + other.products)


@dataclass(frozen=True)
class Screening:
    """What the screen found, by the rows of the updates."""

    suspects: tuple[int, ...]
    guilty: tuple[int, ...]  # those among the suspects who are convicted unless the cross-check finds their work
    moments: Moments
    reasons: dict[int, str]  # of the suspects
    equals: tuple[tuple[int, ...], ...] = ()  # groups of suspects that handed in the same numbers
    certain: tuple[int, ...] = ()  # those among the guilty whom nothing acquits
    apart: tuple[int, ...] = ()  # those whom their own work acquits where there is little to learn
    vast: tuple[int, ...] = ()  # those whom nothing acquits where there is something to learn


def screen(updates: torch.Tensor, thresholds: Thresholds = ALIKE) -> Screening:
    """Find the suspects among the updates of one round.

    Args:
        updates: (n, d) floating point, finite. With n < 3 nobody can be suspect.
    """
    return screen_stages([updates], thresholds)[0]


def screen_stages(
    stages: Sequence[torch.Tensor], thresholds: Thresholds = ALIKE, parameters: Sequence[int] | None = None
) -> tuple[Screening, tuple[Screening, ...]]:
    """Find the suspects as a whole, and at each stage.

    Args:
        stages: one (n, d_s) matrix per stage, as for `screen`.
        parameters: how many of each stage's columns are parameters; buffers follow, which are so much larger that they
            are looked at apart (`tdml.trust.buffers`). Unset: all of them.
    """
    counts = parameters or [updates.shape[1] for updates in stages]
    buffers = [_find_in_buffers(updates[:, count:]) for updates, count in zip(stages, counts, strict=True)]
    stages = [updates[:, :count] for updates, count in zip(stages, counts, strict=True)]
    rows = list(range(len(stages[0])))
    passes: list[list[Screening]] = []
    while True:
        by_stage = [features(updates[rows] if passes else updates) for updates in stages]
        whole = [sum(by_stage[1:], by_stage[0])] if len(stages) > 1 else []
        found = [_renumbered(gate(part, thresholds), rows) for part in (*whole, *by_stage)]
        found = found if whole else found * 2
        if not passes:
            found = [_also(part, more) for part, more in zip(found, (buffers, *([b] for b in buffers)), strict=True)]
        passes.append(found)
        away = {row for part in found for row in (*part.guilty, *(r for group in part.equals for r in group[1:]))}
        rows = [row for row in rows if row not in away]
        if not away or len(rows) < LEAST_REPLICAS:
            break
    # Where too few are left to be compared again, only what needs no comparison counts.
    conclusive = len(rows) >= LEAST_REPLICAS
    merged = [_merged(parts, conclusive) for parts in zip(*passes, strict=True)]
    return merged[0], tuple(merged[1:])


def features(updates: torch.Tensor) -> Features:
    """The sums that `gate` judges by, for (n, d) finite updates."""
    products = torch.zeros(len(updates), len(updates), dtype=torch.float64, device=updates.device)
    for block in updates.split(_BLOCK, dim=1):
        wide = block.double()  # an absurd update must not overflow the products of the others
        products += wide @ wide.T
    return Features(rank_sums(updates), products.cpu())


def gate(found: Features, thresholds: Thresholds) -> Screening:
    """Decide who departs from the others, and why."""
    moments, replicas = found.ranks.moments(), len(found.products)
    if replicas < LEAST_REPLICAS or found.ranks.coordinates == 0:
        return Screening((), (), moments, {})
    equals = _equals(found.products)
    departures = find_departures(measure(moments, found.products), thresholds)
    suspects: dict[int, list[str]] = {i: [_equal_to(i, group)] for group in equals for i in group}
    for i, departs in enumerate(departures):
        if departs.reasons:
            suspects.setdefault(i, []).extend(departs.reasons)
    reasons = {i: "; ".join(texts) for i, texts in suspects.items()}
    guilty = tuple(i for i, departs in enumerate(departures) if departs.guilty)
    apart = tuple(i for i, departs in enumerate(departures) if departs.apart)
    vast = tuple(i for i, departs in enumerate(departures) if departs.vast)
    return Screening(tuple(sorted(suspects)), guilty, moments, reasons, equals, apart=apart, vast=vast)


def _equals(products: torch.Tensor) -> tuple[tuple[int, ...], ...]:
    """Groups of rows that are the same. Rows of zeros are none, nor is a majority: where nothing is learned, as in a
    frozen stage, the honest agree."""
    squares = products.diagonal()
    distance = squares[:, None] + squares[None] - 2 * products
    same = (distance <= _EQUAL * (squares[:, None] + squares[None])) & (squares > 0)[:, None] & (squares > 0)
    for _ in range(len(products).bit_length()):  # what equals the same is the same
        same = (same.double() @ same.double()) > 0
    groups = {tuple(int(j) for j in row.nonzero().flatten()) for row in same}
    return tuple(sorted(group for group in groups if 1 < len(group) <= len(products) // 2))


def _equal_to(i: int, group: Sequence[int]) -> str:
    return f"hands in the same numbers as {len(group) - 1} other{'s' if len(group) > 2 else ''}"


@dataclass(frozen=True)
class _InBuffers:
    """Whose buffers make it guilty, and why, by row; `certain` are those whom that convicts by itself."""

    reasons: dict[int, str]
    certain: frozenset[int]


def _find_in_buffers(buffers: torch.Tensor) -> _InBuffers:
    certain = miscounted(buffers)
    return _InBuffers(oversized(buffers) | certain, frozenset(certain))


def _also(found: Screening, stages: Sequence[_InBuffers]) -> Screening:
    """What is found, and what is found in the buffers of some stages."""
    reasons = {row: reason for part in stages for row, reason in part.reasons.items()}
    joined = {row: "; ".join(filter(None, (reason, found.reasons.get(row)))) for row, reason in reasons.items()}
    certain = {row for part in stages for row in part.certain}
    return replace(
        found, suspects=tuple(sorted({*found.suspects, *reasons})), guilty=tuple(sorted({*found.guilty, *reasons})),
        reasons=found.reasons | joined, certain=tuple(sorted({*found.certain, *certain})),
    )  # fmt: skip


def _renumbered(found: Screening, rows: Sequence[int]) -> Screening:
    """The same in the rows of the whole matrix."""
    return Screening(
        tuple(rows[i] for i in found.suspects), tuple(rows[i] for i in found.guilty), found.moments,
        {rows[i]: reason for i, reason in found.reasons.items()},
        tuple(tuple(rows[i] for i in group) for group in found.equals), tuple(rows[i] for i in found.certain),
        tuple(rows[i] for i in found.apart), tuple(rows[i] for i in found.vast),
    )  # fmt: skip


def _merged(passes: Sequence[Screening], conclusive: bool) -> Screening:
    """One screening of several passes: the guilty and the equal of each, the suspects of the last if `conclusive`."""
    equals = tuple(group for found in passes for group in found.equals)
    guilty, certain, apart, vast = (
        _with_equals((row for found in passes for row in getattr(found, kind)), equals)
        for kind in ("guilty", "certain", "apart", "vast")
    )
    named = {*guilty, *(row for group in equals for row in group), *(passes[-1].suspects if conclusive else ())}
    reasons: dict[int, str] = {}
    for found in passes:
        reasons |= {row: reason for row, reason in found.reasons.items() if row in named}
    return Screening(tuple(sorted(named)), guilty, passes[0].moments, reasons, equals, certain, apart, vast)


def _with_equals(rows: Iterable[int], equals: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The rows, and those that handed in the same as one of them, in order."""
    chosen = set(rows)
    return tuple(sorted(chosen | {row for group in equals if chosen & set(group) for row in group}))
