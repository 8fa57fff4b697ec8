"""The verdict on each replica and each node of a round, from all the evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tdml.trust.cross_check import Judgement
from tdml.trust.screen import Screening

STRIKES = 3  # cross-checks in a row that find a replica harmful, before that alone convicts it
HONEST, SUSPICIOUS, MALICIOUS = "honest", "suspicious", "malicious"


@dataclass(frozen=True)
class Verdict:
    """On one replica. `stages` are those of its nodes that are to blame, empty unless it is malicious."""

    status: str
    reason: str = ""
    stages: tuple[int, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether its update goes into the average."""
        return self.status != MALICIOUS


def refuse(faults: Mapping[int, str]) -> Verdict:
    """On a replica some of whose stages handed in what cannot be an update: stage → what is wrong with it."""
    reason = "; ".join(f"stage {stage}: {fault}" for stage, fault in sorted(faults.items()))
    return Verdict(MALICIOUS, reason, tuple(sorted(faults)))


def count_strikes(before: Mapping[str, int], judgements: Mapping[str, Judgement]) -> dict[str, int]:
    """How many cross-checks in a row have found each replica harmful; keys are what the caller knows it by."""
    return dict(before) | {key: before.get(key, 0) + 1 if j.harmful else 0 for key, j in judgements.items()}


def decide(
    row: int, overall: Screening, by_stage: Sequence[Screening], judgement: Judgement | None, strikes: int
) -> Verdict:
    """The verdict on the replica in `row` of the updates.

    Malicious: guilty by the screen, as a whole or at one stage; suspected by it and harmful by the
    cross-check; or harmful in `STRIKES` cross-checks in a row. The nodes to blame are those that the screen
    finds guilty, else those that it suspects, else all of the replica. Suspicious: one of the two alone.
    """
    guilty_stages = [s for s, found in enumerate(by_stage) if row in found.guilty]
    suspect_stages = [s for s, found in enumerate(by_stage) if row in found.suspects]
    suspected = row in overall.suspects or bool(suspect_stages)
    harmful = judgement is not None and judgement.harmful
    guilty = row in overall.guilty or bool(guilty_stages) or (suspected and harmful) or strikes >= STRIKES
    if not suspected and not harmful:
        return Verdict(HONEST)
    texts = [f"stage {s}: {by_stage[s].reasons[row]}" for s in suspect_stages]
    if not texts and row in overall.reasons:
        texts = [overall.reasons[row]]
    if judgement is not None:
        texts.append(judgement.reason)
    if strikes >= STRIKES:
        texts.append(f"harmful in {strikes} checks in a row")
    if not guilty:
        return Verdict(SUSPICIOUS, "; ".join(texts))
    return Verdict(MALICIOUS, "; ".join(texts), tuple(guilty_stages or suspect_stages or range(len(by_stage))))
