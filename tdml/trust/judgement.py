"""The judgement of a round, in five sentences.

Statistics point. Only proofs ban. The judge of a proof is recomputation, so one honest validator is
enough. Nothing unproven does harm. What a proven liar put in before is taken out again.

A `Judgement` is the one record of it: ledger, metrics, report and rewards are made of this.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tdml.trust.numbers import LARGEST, LIMIT, TYPICAL, WITHHELD
from tdml.trust.work import WorkResult

HONEST, SUSPICIOUS, MALICIOUS, LOST = "honest", "suspicious", "malicious", "lost"
UNCHECKED = "not checked: the data stays with its owner"


@dataclass(frozen=True)
class Proof:
    """What convicts nodes, by name, and why. Nothing else does."""

    nodes: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Audited:
    """What came of repeating some windows of a replica: found clean; found so by a look at one
    step alone, or by nobody who vouches; those of which a look could not tell; those in which its
    nodes were proven to lie; and why others were not settled."""

    clean: tuple[int, ...] = ()
    looked: tuple[int, ...] = ()
    unknown: tuple[int, ...] = ()
    lied: tuple[int, ...] = ()
    unsettled: str = ""
    # window → the replica that repeated it, None: the coordinator has looked
    validators: Mapping[int, int | None] = field(default_factory=dict)

    def all_clean(self, windows: Sequence[object]) -> bool:
        """Whether every window of the round was found clean, and nothing was found amiss."""
        return len(self.clean) == len(windows) and not (self.unsettled or self.lied)


@dataclass(frozen=True)
class Evidence:
    """All that is known of one replica's round before it is judged: `fault` is why it cannot be
    averaged; `distance` and `departure` are the screen's; `work` is None where nothing was tested;
    `full`: every window was audited and found clean; `proof` convicts nodes of its own; `unchecked`
    is why its work can never be repeated; `compared`: it has taken all of its steps."""

    nodes: tuple[str, ...]
    samples: int
    size: float = 0.0
    stretch: float = 1.0  # how much larger its steps may make it than most replicas' do
    fault: str = ""
    distance: float = 0.0
    departure: str = ""
    work: WorkResult | None = None
    audited: Audited = field(default_factory=Audited)
    verified: bool = False
    proof: Proof | None = None
    unchecked: str = ""
    compared: bool = True


@dataclass(frozen=True)
class Judgement:
    """Of one replica in one round. `weight` is what its update counts in the mean, from 0 to 1, and
    `scale` what it is shortened to; `blamed` are those of its nodes that are proven to lie."""

    replica: int
    nodes: tuple[str, ...]
    status: str
    reason: str = ""
    weight: float = 0.0
    scale: float = 1.0
    blamed: tuple[str, ...] = ()
    samples: int = 0
    repeated: int = 0  # those of them that chance had repeated, and that were shown
    improvement: int = 0
    distance: float = 0.0
    p: float | None = None  # of the work test
    # all of its work was repeated and found again, so it is paid, whatever its update counts
    verified: bool = False
    unfound: bool = False  # it cannot be averaged, and its work was not: it is not paid
    train_loss: float | None = None
    rank_mean: float | None = None
    rank_std: float | None = None

    def __post_init__(self) -> None:
        full = self.weight == self.scale == 1
        assert full or self.status != HONEST, "what does not count in full is never shown as honest"

    @property
    def accepted(self) -> bool:
        """Whether its update goes into the mean."""
        return self.weight > 0


def judge(evidence: Mapping[int, Evidence], streak: float, vouches: bool) -> dict[int, Judgement]:
    """What becomes of each replica's update, by replica.

    Whoever was seen working, or whose whole round was repeated and found again, counts in full, up
    to LARGEST times the median size (of two, repeated by the other, at any size); who was tested
    and not seen working counts less beside them, and as all others where there are none; who was
    not tested counts up to TYPICAL times the median size. Who stands out beyond the screen's limit,
    and was not found clean, does not count.

    Args:
        streak: how many in a row of those that are known to be honest the work test has seen.
        vouches: whether the work test's result counts for a replica: it does where shares are drawn
            alike.
    """
    sound = [e for e in evidence.values() if not (e.fault or e.proof) and _passes(e)]
    sizes = [e.size for e in sound if e.compared] or [e.size for e in sound]
    typical = statistics.median_low(sizes) if sizes else 0.0
    tested = [e for e in sound if e.verified or (vouches and e.work)]
    seen = sum(e.verified or bool(e.work and e.work.seen) for e in tested)
    # were it longer in this round, more would be seen of a majority, which is honest
    unseen = len(tested) // 2 + 1 - seen
    streak = min(streak, seen / unseen) if unseen > 0 else streak
    repeated = LARGEST if len(evidence) > 2 else math.inf
    return {i: _judge(i, e, typical, streak, vouches, repeated) for i, e in evidence.items()}


def _judge(
    index: int, evidence: Evidence, typical: float, streak: float, vouches: bool, repeated: float
) -> Judgement:
    tested = evidence.work if vouches else None
    seen = tested is not None and tested.seen
    weight, doubt = 1.0, ""
    if tested is not None and streak and not seen and not evidence.verified:
        weight, doubt = _unseen(tested, streak)
    most = repeated if evidence.verified else LARGEST if seen else TYPICAL
    scale, bound = _shorten(evidence.size, typical * evidence.stretch, most)
    proof = evidence.proof
    if (refusal := _refusal(evidence)) or proof:
        weight, scale, doubt, bound = 0.0, 1.0, refusal, ""
    status = MALICIOUS if proof else HONEST if weight == scale == 1 else SUSPICIOUS
    reasons = [proof.reason if proof else "", doubt, bound, evidence.unchecked]
    return Judgement(
        index,
        evidence.nodes,
        status,
        "; ".join(dict.fromkeys(filter(None, reasons))),
        weight,
        scale,
        proof.nodes if proof else (),
        evidence.samples,
        distance=evidence.distance,
        p=None if evidence.work is None else evidence.work.p,
        verified=evidence.verified,
        unfound=bool(evidence.fault) and not evidence.verified,
    )


def _refusal(evidence: Evidence) -> str:
    """Why an update does not count at all; "" if it does."""
    if evidence.fault or evidence.audited.unsettled:
        return evidence.fault or evidence.audited.unsettled
    if _passes(evidence):
        return ""
    if evidence.unchecked:
        return f"{evidence.departure}: it does not count"
    # who is proven to lie waits for nothing
    waits = "" if evidence.proof else ": it does not count until its work is found again"
    return evidence.departure + waits


def _unseen(work: WorkResult, streak: float) -> tuple[float, str]:
    """What an update counts that was not seen working, and why: honest work loses WITHHELD of its
    weight by that, however seldom it is not seen."""
    weight = max(0.0, 1 - WITHHELD * streak)
    text = f"not seen working (p {work.p:.2g}) where {streak:.3g} honest ones in a row are"
    return weight, f"{text}: counts {weight:.2f}"


def _shorten(size: float, typical: float, most: float) -> tuple[float, str]:
    """What an update is shortened to, to be at most `most` times the typical size; and why."""
    if typical <= 0 or size <= most * typical:
        return 1.0, ""
    scale = most * typical / size
    return scale, f"{size / typical:.3g} times the median size: shortened to {most:g}"


def _passes(evidence: Evidence) -> bool:
    return evidence.verified or evidence.distance <= LIMIT


def lost(index: int, nodes: Sequence[str], reason: str) -> Judgement:
    """Of a replica that handed in nothing."""
    return Judgement(index, tuple(nodes), LOST, reason)


@dataclass
class Power:
    """How well the work test sees honest work: the latest `streak` of replica-rounds that it has
    seen, of those that chance chose and audits found clean. Where it sees the share β of them, that
    is β/(1 − β) on average, whatever it saw before (inverse sampling, Haldane 1945)."""

    streak: int = 0

    def add(self, seen: bool) -> None:
        """One more replica-round that is known to be honest."""
        self.streak = self.streak + 1 if seen else 0
