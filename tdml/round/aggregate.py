"""The mean of a round's updates, taken block by block."""

from collections.abc import Mapping, Sequence

import torch

from tdml.round.fleet import Fleet
from tdml.round.gather import BlockPlace, Gathered, matches, stream_blocks
from tdml.run.job import Job
from tdml.trust.commitment import block_span, is_plain
from tdml.trust.judgement import Judgement
from tdml.trust.mean import combine, weighted_mean


def mean(
    fleet: Fleet,
    job: Job,
    gathered: Gathered,
    rows: Sequence[int],
    judgements: Mapping[int, Judgement],
) -> list[torch.Tensor]:
    """What the updates of some replicas come to, (d_s,) float32 by stage. Where one of them is lost
    on the way, or shows something else than it was judged by, it is taken again without it."""
    if not rows:
        return [torch.zeros(layout.size) for layout in job.layouts]
    made = [torch.empty(layout.size) for layout in job.layouts]
    for (stage, number), blocks in stream_blocks(fleet, job, gathered, rows):
        start, stop = block_span(job.layouts[stage].size, number)
        sound = [
            index
            for index in rows
            if _is_sound(job, gathered, index, (stage, number), blocks, stop - start)
        ]
        if len(sound) < len(rows):
            return mean(fleet, job, gathered, sound, judgements)
        parameters = max(0, min(job.layouts[stage].parameters - start, stop - start))
        block = [blocks[index] for index in rows]
        _combine(job, block, rows, judgements, parameters, made[stage][start:stop])
        del block, blocks  # before the next come
    return made


def _is_sound(
    job: Job,
    gathered: Gathered,
    index: int,
    place: BlockPlace,
    blocks: Mapping[int, torch.Tensor],
    size: int,
) -> bool:
    """Whether a block is here, and the one that was judged."""
    if place in gathered.kept:
        return index in blocks
    plain = is_plain(blocks.get(index), (size,), torch.float32)
    return plain and (
        not job.config.trust.enabled or matches(gathered, index, *place, blocks[index])
    )


def _combine(
    job: Job,
    block: Sequence[torch.Tensor],
    rows: Sequence[int],
    judgements: Mapping[int, Judgement],
    parameters: int,
    out: torch.Tensor,
) -> None:
    weights = [judgements[index].weight * judgements[index].samples for index in rows]
    if not job.config.trust.enabled:
        out[:] = weighted_mean(block, weights)
    else:
        scales = [judgements[index].scale for index in rows]
        combine(block, weights, scales, parameters, out)
