"""The mean of a round's updates, taken block by block."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from tdml.round.fleet import Fleet
from tdml.round.gather import BlockPlace, Gathered, check_block, parameters_in, stream_blocks
from tdml.round.job import Job
from tdml.round.judge import Judged
from tdml.trust.commitment import block_span
from tdml.trust.judgement import MALICIOUS, SUSPICIOUS, Judgement, Proof
from tdml.trust.mean import combine

_NOT_HAD_AGAIN = "its update could not be had for the mean"


@dataclass(frozen=True)
class Mean:
    """The mean of the updates of some replicas: (d_s,) float32 by stage."""

    stages: list[torch.Tensor]
    replicas: Sequence[int]


def mean(
    fleet: Fleet,
    job: Job,
    gathered: Gathered,
    replicas: Sequence[int],
    judgements: Mapping[int, Judgement],
) -> Mean:
    """The mean of the updates of some replicas. A replica that is lost on the way, or that shows
    another update than the one that was judged, which is noted in `gathered`, is left out: then the
    mean is taken again without it."""
    if not replicas:
        return Mean([torch.zeros(layout.size) for layout in job.layouts], replicas)
    means = [torch.empty(layout.size) for layout in job.layouts]
    for (stage, number), blocks in stream_blocks(fleet, job, gathered, replicas):
        start, stop = block_span(job.layouts[stage].size, number)
        sound = [
            index for index in replicas if _is_sound(job, gathered, index, (stage, number), blocks)
        ]
        if len(sound) < len(replicas):
            return mean(fleet, job, gathered, sound, judgements)
        block = [blocks[index] for index in replicas]
        parameters = parameters_in(job.layouts[stage], number)
        _combine(job, block, replicas, judgements, parameters, means[stage][start:stop])
        del block, blocks  # before the next come
    return Mean(means, replicas)


def _is_sound(
    job: Job,
    gathered: Gathered,
    index: int,
    place: BlockPlace,
    blocks: Mapping[int, torch.Tensor],
) -> bool:
    """Whether a replica's block is there, and is the one that was judged."""
    if place in gathered.kept or index not in blocks:
        return index in blocks
    return check_block(gathered, job, index, place, blocks[index])


def _combine(
    job: Job,
    block: Sequence[torch.Tensor],
    replicas: Sequence[int],
    judgements: Mapping[int, Judgement],
    parameters: int,
    out: torch.Tensor,
) -> None:
    weights = [judgements[index].weight * judgements[index].samples for index in replicas]
    scales = [judgements[index].scale for index in replicas]
    if not job.config.trust.enabled:
        parameters = len(out)  # a plain mean, of buffers too
    combine(block, weights, scales, parameters, out)


def without_missing(
    job: Job, judged: Judged, gathered: Gathered, missing: Collection[int]
) -> Judged:
    """What was judged, with the updates that are `missing` from the mean not counted. Nodes that
    have shown another update than they had committed to are convicted by it."""
    more = [p for p in gathered.proofs if job.config.trust.enabled and p not in judged.proofs]
    judgements = dict(judged.judgements)
    for index in missing:
        own = [proof for proof in more if set(proof.nodes) <= set(judgements[index].nodes)]
        judgements[index] = _uncounted(judgements[index], own)
    return replace(judged, judgements=judgements, proofs=[*judged.proofs, *more])


def _uncounted(judgement: Judgement, proofs: Sequence[Proof]) -> Judgement:
    reasons = [proof.reason for proof in proofs] or [judgement.reason, _NOT_HAD_AGAIN]
    return replace(
        judgement,
        status=MALICIOUS if proofs else SUSPICIOUS,
        reason="; ".join(filter(None, reasons)),
        weight=0.0,
        scale=1.0,
        blamed=tuple(name for proof in proofs for name in proof.nodes),
        verified=judgement.verified and not proofs,
    )
