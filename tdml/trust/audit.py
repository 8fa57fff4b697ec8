"""The audit: a part of a replica's steps, taken again by others. Who lied, and how sure that is.

A round's steps are cut into W windows. Before anyone knows which of them will be audited, every node commits to its
states between them. The first state is the global weights and the last is the update that it hands in, so whatever is
false about the update is false in some window.
"""

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from tdml.trust.blame import Blame, all_of, contradiction

EXACT = 1e-5  # relative error that counts as none
LARGEST = 0.01  # the most that is let pass on one validator's word, between different machines, or to clear a suspect
DIFFERENT = 0.25  # up to here work on another kind of machine may differ and be honest: nobody is convicted of it
_FACTOR = 8.0
FARTHEST = _FACTOR * DIFFERENT  # the limit of different machines of which nobody needs to lie
_LEAST_SEEN, _MOST_KEPT = 3, 99
CLEAN, LIED, UNSETTLED = "clean", "lied", "unsettled"


def edges(steps: int, windows: int) -> tuple[int, ...]:
    """Where the windows of a round's steps begin and end: W + 1 rising step numbers, W at most the steps."""
    count = min(steps, windows)
    return tuple(round(steps * k / count) for k in range(count + 1))


def windows_that_fit(windows: int, state_bytes: int, memory: int) -> int:
    """The most windows whose inner states, of `state_bytes` each, fit into `memory` bytes."""
    return max(1, min(windows, 1 + memory // max(state_bytes, 1)))


def window_probability(rate: float, windows: int) -> float:
    """The chance that one window is audited, each on its own, such that a replica is audited at all with chance
    `rate`: 1 − (1 − rate)^(1/W). It is what a lie in a single window is met with; at rate 1 it is 1."""
    return 1 - (1 - rate) ** (1 / windows)


def choose_windows(rate: float, windows: int, generator: torch.Generator) -> tuple[int, ...]:
    """The windows of one replica's round that are audited, numbered from 0; most often none."""
    drawn = torch.rand(windows, generator=generator, dtype=torch.float64)
    return tuple((drawn < window_probability(rate, windows)).nonzero().view(-1).tolist())


def relative_error(start: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> float:
    """How far apart two ends of a window are, relative to the change over it: ‖a − b‖ / max(‖a − s‖, ‖b − s‖).

    0 where they are equal, which what is not a number is to itself; else infinite where anything is not finite.
    """
    if torch.allclose(one, other, rtol=0, atol=0, equal_nan=True):
        return 0.0
    a, b, s = one.double(), other.double(), start.double()
    error = float((a - b).norm() / torch.maximum((a - s).norm(), (b - s).norm()))
    return error if error < float("inf") else float("inf")


class Tolerance:
    """How far one validator's repetition may be from the claim before more are asked; learnt from this run's audits.

    Machines of one kind (software, hardware, threads) repeat each other's steps bit for bit, others nearly. For
    each pair of kinds the limit is eight times the median of the last errors that were no lies, at least 1e-5 and at
    most 1 %.
    """

    def __init__(self) -> None:
        self.seen: dict[str, list[float]] = {}

    def limit(self, one: str, other: str) -> float:
        """The largest relative error that is no reason to ask others."""
        seen = self.seen.get(_pair(one, other), [])
        if len(seen) < _LEAST_SEEN:
            return EXACT
        return min(LARGEST, max(EXACT, _FACTOR * statistics.median(seen)))

    def add(self, one: str, other: str, error: float) -> None:
        """Learn from an error that was no lie."""
        seen = self.seen.setdefault(_pair(one, other), [])
        seen.append(error)
        del seen[:-_MOST_KEPT]


def _pair(one: str, other: str) -> str:
    return " / ".join(sorted((one, other)))


@dataclass(frozen=True)
class Consensus:
    """What most validators of a window agree on. `centre` is the one nearest to more than half of them, itself among
    these, `limit` how far from it a result may be, `dissenters` those who are farther away."""

    centre: int
    limit: float
    dissenters: tuple[int, ...]


def agree(distances: torch.Tensor) -> Consensus:
    """The consensus of V ≥ 2 validators, from their relative errors to one another, (V, V).

    The limit is eight times the radius within which more than half of them lie: the honest majority's own scatter.
    So it is the run that says how well its steps can be repeated, and a job whose steps cannot convicts nobody.
    """
    validators = len(distances)
    assert validators > 1
    radii = distances.sort(dim=1).values[:, validators // 2]
    centre = int(radii.argmin())
    limit = max(EXACT, _FACTOR * float(radii[centre]))
    return Consensus(centre, limit, tuple((distances[centre] > limit).nonzero().view(-1).tolist()))


@dataclass(frozen=True)
class Ruling:
    """On one window of one replica. `error` is how far its state is from what the validator `centre` found, in whom
    most others agree, `limit` how far it may be; `centre` is −1 where they do not agree. `blamed` are the stages that
    lied, `disputes` those of whom one did, by pairs. `dissenters` are the validators whom most others contradict, and
    who lied in them. `unsteady` are the validators whose own repetitions differ, `erratic` the stages of the replica
    whose own do. `void`: nothing follows for anybody."""

    result: str
    error: float
    limit: float
    validators: tuple[int, ...]
    centre: int
    blamed: tuple[int, ...] = ()
    dissenters: Mapping[int, Blame] = field(default_factory=dict)
    disputes: tuple[tuple[int, int], ...] = ()
    unsteady: tuple[int, ...] = ()
    erratic: tuple[int, ...] = ()
    void: bool = False

    @property
    def accuses(self) -> bool:
        """Whether it speaks against anybody."""
        return self.result != CLEAN or bool(self.dissenters)

    def acquit(self, result: str, misfits: Collection[int], unsteady: tuple[int, ...] = ()) -> "Ruling":
        """The same where nothing follows from it, but for validators whose answers do not fit together."""
        dissenters = {validator: blame for validator, blame in self.dissenters.items() if validator in misfits}
        return replace(self, result=result, blamed=(), disputes=(), dissenters=dissenters, unsteady=unsteady, void=True)


@dataclass(frozen=True)
class Outcome:
    """What the audit of a replica's round comes to. `full`: every window was repeated by everyone else, and closely
    enough to clear it. `blamed`, `disputes` and `erratic` as in a `Ruling`; `absent` are the stages that were gone when
    they had to show their work. `void`: it is unsettled, and nothing else can be expected of another audit."""

    result: str
    reason: str
    blamed: tuple[int, ...] = ()
    full: bool = False
    rulings: Mapping[int, Ruling] = field(default_factory=dict)  # by window
    exhibit: Mapping[str, torch.Tensor] = field(default_factory=dict)  # what a conviction rests on
    disputes: tuple[tuple[int, int], ...] = ()
    absent: tuple[int, ...] = ()
    erratic: tuple[int, ...] = ()
    void: bool = False


def conclude(rulings: Mapping[int, Ruling], full: bool, exhibit: Mapping[str, torch.Tensor]) -> Outcome:
    """From window → ruling to the outcome.

    Where those who repeated the steps are so far apart that a lie could hide between them, nobody is cleared by it.
    """
    texts = [_said(window, ruling) for window, ruling in sorted(rulings.items()) if ruling.result != CLEAN]
    sharp = all(ruling.limit <= LARGEST for ruling in rulings.values())
    results = {ruling.result for ruling in rulings.values()}
    result = next(r for r in (LIED, UNSETTLED, CLEAN) if r in results)
    blame = all_of(Blame(ruling.blamed, ruling.disputes) for ruling in rulings.values())
    erratic = all_of(Blame(ruling.erratic) for ruling in rulings.values()).stages
    void = all(ruling.void for ruling in rulings.values() if ruling.result == result)
    return Outcome(
        result, "; ".join(texts), blame.stages, full and sharp, rulings, exhibit, blame.disputes, erratic=erratic,
        void=result == UNSETTLED and void,
    )  # fmt: skip


def why_void(rulings: Iterable[Ruling]) -> str:
    """Why audits cannot convict, from those of a round: whose repetitions differ, from their own or from the others';
    "" if they can."""
    for ruling in rulings:
        if ruling.void and ruling.unsteady:
            return f"{_names(ruling.unsteady, 's')} own repetitions differ"
        if ruling.void and ruling.centre < 0:
            return f"{_names(ruling.validators)} find different ends of the same steps"
    return ""


def _said(window: int, ruling: Ruling) -> str:
    """What is not clean of a window."""
    if why := why_void([ruling]):
        return f"audit of window {window}: {why}"
    texts = [
        f"audit of window {window}: off by {ruling.error:.2g} of the change that {_count(ruling)} found, "
        f"limit {ruling.limit:.1g}",
        "but this job cannot be repeated" if ruling.void else "",
        f"{_names(ruling.unsteady, 's')} own repetitions differ and do not count" if ruling.unsteady else "",
        "its own repetitions differ, too" if ruling.erratic else "",
        *(contradiction(pair) for pair in ruling.disputes),
    ]
    return "; ".join(filter(None, texts))


def _count(ruling: Ruling) -> str:
    agreeing = len(ruling.validators) - len({*ruling.dissenters, *ruling.unsteady})
    return f"{agreeing} of {len(ruling.validators)} validators"


def _names(replicas: Sequence[int], ending: str = "") -> str:
    """Such as r0, r1 and r3; with the ending "s", r0's, r1's and r3's."""
    names = [f"r{index}" + f"'{ending}" * bool(ending) for index in replicas]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
