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
    """Convicts nodes, by their names, for a reason. Nothing else does."""

    nodes: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Audited:
    """What came of repeating some windows of a replica, which are given by their numbers."""

    clean: tuple[int, ...] = ()  # another replica has found the same
    looked: tuple[int, ...] = ()  # only a look at one step has, or only a possible accomplice
    unknown: tuple[int, ...] = ()  # a look could not tell: two kinds of machines may differ so
    lied: tuple[int, ...] = ()  # a node of the replica is proven to lie
    unsettled: str = ""  # why the others could not be settled
    # window → the replica that repeated it, None: the coordinator has looked
    validators: Mapping[int, int | None] = field(default_factory=dict)

    def all_clean(self, windows: Sequence[object]) -> bool:
        """Whether every window of the round was found clean, and nothing was found wrong."""
        return len(self.clean) == len(windows) and not (self.unsettled or self.lied)


@dataclass(frozen=True)
class Evidence:
    """All that is known of one replica's round before it is judged."""

    nodes: tuple[str, ...]
    samples: int
    size: float = 0.0  # Euclidean norm of the update's parameters
    stretch: float = 1.0  # how many times larger than most it may be, for it takes more steps
    fault: str = ""  # why the update cannot be averaged
    distance: float = 0.0  # how far it stands out in the screen, in widths
    screen_reason: str = ""  # in what, if that is beyond the limit
    work: WorkResult | None = None  # None: it was not tested
    audited: Audited = field(default_factory=Audited)
    verified: bool = False  # every window was repeated and found clean
    proof: Proof | None = None  # against nodes of this replica
    unchecked: str = ""  # why its work can never be repeated
    all_steps: bool = True  # whether it has taken all steps of a round, or fewer, for it is slow


@dataclass(frozen=True)
class Judgement:
    """What becomes of one replica's round."""

    replica: int
    nodes: tuple[str, ...]
    status: str  # HONEST, SUSPICIOUS, MALICIOUS or LOST
    reason: str = ""
    weight: float = 0.0  # what the update counts in the mean, from 0 to 1
    scale: float = 1.0  # what it is multiplied by, to be no longer than it may
    blamed: tuple[str, ...] = ()  # the nodes that are proven to lie
    samples: int = 0
    repeated: int = 0  # samples in windows that chance had repeated, and that were shown
    improvement: int = 0  # of the held-out loss, in millionths of a nat
    distance: float = 0.0
    p: float | None = None  # of the work test
    # all of its work was repeated and found again, so it is paid, whatever its update counts
    verified: bool = False
    unfound: bool = False  # it can neither be averaged nor was it verified: it is not paid
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


def judge(evidence: Mapping[int, Evidence], streak: float, iid: bool) -> dict[int, Judgement]:
    """What becomes of each replica's update, by replica.

    - Seen working by the work test, or verified: it counts in full, up to LARGEST times the median
      size; of two replicas, if the other has verified it, at any size.
    - Tested and not seen working: it counts less than those that were seen, if there are any.
    - Not tested: it counts up to TYPICAL times the median size.
    - Beyond the screen's limit, and not verified: it does not count.

    Args:
        streak: how many honest replicas in a row the work test has seen working, see `Power`.
        iid: whether shares are IID: else the work test says nothing in anybody's favour.
    """
    sound = [e for e in evidence.values() if not (e.fault or e.proof) and _passes(e)]
    sizes = [e.size for e in sound if e.all_steps] or [e.size for e in sound]
    typical = statistics.median_low(sizes) if sizes else 0.0
    tested = [e for e in sound if e.verified or (iid and e.work)]
    seen = sum(e.verified or bool(e.work and e.work.seen) for e in tested)
    # with a longer streak the test would have seen more of this round's honest majority
    unseen = len(tested) // 2 + 1 - seen
    streak = min(streak, seen / unseen) if unseen > 0 else streak
    verified_most = LARGEST if len(evidence) > 2 else math.inf
    return {i: _judge(i, e, typical, streak, iid, verified_most) for i, e in evidence.items()}


def _judge(
    index: int, evidence: Evidence, typical: float, streak: float, iid: bool, verified_most: float
) -> Judgement:
    tested = evidence.work if iid else None
    seen = tested is not None and tested.seen
    weight, doubt = 1.0, ""
    if tested is not None and streak and not seen and not evidence.verified:
        weight, doubt = _unseen(tested, streak)
    most = verified_most if evidence.verified else LARGEST if seen else TYPICAL
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
        return f"{evidence.screen_reason}: it does not count"
    # a proven liar waits for nothing
    waits = "" if evidence.proof else ": it does not count until its work is found again"
    return evidence.screen_reason + waits


def _unseen(work: WorkResult, streak: float) -> tuple[float, str]:
    """What an update counts that was not seen working, and why. On average honest work loses the
    share WITHHELD of its weight by that, however seldom it is not seen."""
    weight = max(0.0, 1 - WITHHELD * streak)
    text = f"not seen working (p {work.p:.2g}) where {streak:.3g} honest ones in a row are"
    return weight, f"{text}: counts {weight:.2f}"


def _shorten(size: float, typical: float, most: float) -> tuple[float, str]:
    """The factor that makes an update at most `most` times as long as a typical one; and why."""
    if typical <= 0 or size <= most * typical:
        return 1.0, ""
    scale = most * typical / size
    return scale, f"{size / typical:.3g} times the median size: shortened to {most:g}"


def _passes(evidence: Evidence) -> bool:
    return evidence.verified or evidence.distance <= LIMIT


def lost(index: int, nodes: Sequence[str], reason: str) -> Judgement:
    """The judgement of a replica that has handed in nothing."""
    return Judgement(index, tuple(nodes), LOST, reason)


@dataclass
class Power:
    """How well the work test sees honest work. Of the replicas' rounds that chance has chosen for
    audits and that were found clean, `streak` is how many in a row it has seen, up to now. If it
    sees the share β of them, that is β/(1 − β) on average (inverse sampling, Haldane 1945)."""

    streak: int = 0

    def add(self, seen: bool) -> None:
        """Take in one more round of a replica that is known to be honest."""
        self.streak = self.streak + 1 if seen else 0
