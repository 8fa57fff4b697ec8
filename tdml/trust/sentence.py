"""The sentence on single nodes: for lies as validators, which nothing makes good, and for too many disputes.

Lies as validators are kept apart from the evidence on a replica's training, by node. Nothing that a node does
elsewhere clears it of them.

In a dispute two neighbours contradict each other on what passed between them, so one of the two lied. After it they
are separated. A node that is in dispute with three different neighbours is convicted: either it lied, or each of the
three did. So one liar is convicted after three disputes wherever it is moved, and no honest node is convicted because
one other lies, or two. To frame it takes three that are each seated beside it, by draws that they do not control.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tdml.trust.evidence import CONVICTION, influence
from tdml.trust.verdict import MALICIOUS, Verdict

NEIGHBOURS = 3  # with whom a node was in dispute, that convict it


def sentence(
    verdict: Verdict, perjury: Sequence[float], disputes: Sequence[Mapping[str, int]], conviction: float = CONVICTION
) -> Verdict:
    """The verdict on a replica, with what all rounds so far, this one too, say of its nodes.

    Args:
        perjury: nats, by stage.
        disputes: by stage: each neighbour with whom the node was in dispute, and the round.
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
    worth = min(verdict.influence, influence(max(perjury, default=0.0), conviction))
    if not reasons:
        return replace(verdict, influence=worth)
    reason = "; ".join(filter(None, [*reasons.values(), verdict.reason]))
    stages = tuple(sorted({*verdict.stages, *reasons}))
    return replace(verdict, status=MALICIOUS, reason=reason, stages=stages, influence=0.0)
