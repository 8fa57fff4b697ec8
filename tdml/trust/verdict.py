"""The verdict on each replica and each node of a round, from all the evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tdml.trust.cross_check import Judgement
from tdml.trust.screen import Screening

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


def decide(row: int, overall: Screening, by_stage: Sequence[Screening], judgement: Judgement | None) -> Verdict:
    """The verdict on the replica in `row` of the updates.

    Malicious: guilty by the screen, as a whole or at one stage, or by the cross-check. The nodes to blame
    are those that the screen finds guilty, else those that it suspects, else all of the replica.
    Suspicious: the screen suspects it and nothing more.
    """
    guilty_stages = [s for s, found in enumerate(by_stage) if row in found.guilty]
    suspect_stages = [s for s, found in enumerate(by_stage) if row in found.suspects]
    suspected = row in overall.suspects or bool(suspect_stages)
    guilty = row in overall.guilty or bool(guilty_stages) or (judgement is not None and judgement.guilty)
    texts = [f"stage {s}: {by_stage[s].reasons[row]}" for s in suspect_stages] or (
        [overall.reasons[row]] if row in overall.reasons else []
    )
    if judgement is not None and (suspected or guilty):
        texts.append(judgement.reason)
    if guilty:
        stages = guilty_stages or suspect_stages or range(len(by_stage))
        return Verdict(MALICIOUS, "; ".join(texts), tuple(stages))
    return Verdict(SUSPICIOUS, "; ".join(texts)) if suspected else Verdict(HONEST)
