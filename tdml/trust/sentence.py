"""The sentence on single nodes: for lies as validators, which nothing makes good, for disputes, and for silence.

Lies as validators are kept apart from the evidence on a replica's training, by node. Nothing that a node does
elsewhere clears it of them.

In a dispute two neighbours contradict each other on what passed between them, so one of the two lied. After it they
are separated. A node that is in dispute with three different neighbours is convicted: either it lied, or each of the
three did. So one liar is convicted after three disputes wherever it is moved, and no honest node is convicted because
one other lies, or two. To frame it takes three that are each seated beside it, by draws that they do not control.

A node that is gone when it must show its work may have crashed, or another may have killed it. So once is no proof; a
node that is gone a second time is convicted: otherwise whoever lies would only have to end itself when it is asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tdml.trust.evidence import CONVICTION, influence
from tdml.trust.verdict import MALICIOUS, Verdict

NEIGHBOURS = 3  # with whom a node was in dispute, that convict it
ABSENCES = 2  # rounds in which a node was gone when it had to show its work, that convict it


def sentence(
    verdict: Verdict, perjury: Sequence[float], disputes: Sequence[Mapping[str, int]],
    absences: Sequence[Sequence[int]], conviction: float = CONVICTION,
) -> Verdict:  # fmt: skip
    """The verdict on a replica, with what all rounds so far, this one too, say of its nodes.

    Args:
        perjury: nats, by stage.
        disputes: by stage: each neighbour with whom the node was in dispute, and the round.
        absences: by stage: the rounds in which the node was gone when it had to show its work.
        conviction: nats that convict.
    """
    reasons = {
        stage: f"stage {stage} has {nats:.0f} nats for lies as a validator, {conviction:.0f} convict"
        for stage, nats in enumerate(perjury)
        if nats >= conviction
    }
    for stage, neighbours in enumerate(disputes):
        if len(neighbours) >= NEIGHBOURS:
            named = ", ".join(f"{name} (round {number})" for name, number in neighbours.items())
            reasons[stage] = f"stage {stage} was in dispute with {named}"
    for stage, rounds in enumerate(absences):
        if len(rounds) >= ABSENCES:
            told = " and ".join(map(str, rounds))
            reasons[stage] = f"stage {stage} was gone when it had to show its work, in rounds {told}"
    worth = min(verdict.influence, influence(max(perjury, default=0.0), conviction))
    if not reasons:
        return replace(verdict, influence=worth)
    reason = "; ".join(filter(None, [*reasons.values(), verdict.reason]))
    stages = tuple(sorted({*verdict.stages, *reasons}))
    return replace(verdict, status=MALICIOUS, reason=reason, stages=stages, influence=0.0)
