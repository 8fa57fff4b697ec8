"""Commit before reveal: the updates of a round flow through the coordinator block by block, and are
folded.

Nobody reveals before all have committed, and every block is checked against what its node has
committed to. The coordinator keeps the sums that the judgement needs, and the updates themselves
only where all of them fit into `gather.memory`; else it asks for them again when it takes the mean.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from tdml.common.digest import digest
from tdml.common.merkle import root
from tdml.models.layout import Layout
from tdml.protocol.orders import UPDATE, Commitment, Trained
from tdml.round.fleet import Fleet
from tdml.round.job import Job
from tdml.round.start import RoundStart
from tdml.trust.commitment import block_span, commitment, is_plain
from tdml.trust.fold import StageSums, empty, fold_stage
from tdml.trust.judgement import Proof

BlockPlace = tuple[int, int]  # stage and number of a block
Blocks = dict[int, torch.Tensor]  # one place, by replica


@dataclass
class Gathered:
    """The updates of a round.

    `start` says what every replica of the round was ordered to do, also those that handed in
    nothing. `replicas` are those whose updates can be averaged, in the order of the rows of `sums`,
    by stage. `faults` says what is wrong with the others', by stage; `diverged` are those whose
    only fault is that they are not finite, to which honest steps may lead.
    """

    start: RoundStart
    commitments: dict[int, list[Commitment]]
    names: dict[int, tuple[str, ...]]
    replicas: list[int] = field(default_factory=list)
    sums: list[StageSums] = field(default_factory=list)
    faults: dict[int, dict[int, str]] = field(default_factory=dict)
    diverged: set[int] = field(default_factory=set)
    kept: dict[BlockPlace, Blocks] = field(default_factory=dict)
    bytes: int = 0

    def note_fault(self, index: int, stage: int, text: str) -> None:
        """What is wrong with a replica's update of a stage."""
        self.faults.setdefault(index, {})[stage] = text

    @property
    def proofs(self) -> list[Proof]:
        """The faults that no honest node's update has, as proofs against the nodes."""
        return [
            Proof((self.names[index][stage],), f"stage {stage}: {text}")
            for index, faults in sorted(self.faults.items())
            if index not in self.diverged
            for stage, text in sorted(faults.items())
        ]

    @property
    def auditable(self) -> list[int]:
        """All that handed in an update, finite or not: what can be audited."""
        return sorted({*self.replicas, *self.diverged})

    def sizes_of(self, stage: int) -> dict[int, float]:
        """The Euclidean norms of the updates' parameters of one stage, by replica."""
        norms = self.sums[stage].parameters.norms.tolist()
        return dict(zip(self.replicas, norms, strict=True))

    @property
    def sizes(self) -> dict[int, float]:
        """The Euclidean norms of the updates' parameters over all stages, by replica."""
        squares = sum(
            (stage.parameters.products.diagonal() for stage in self.sums),
            torch.zeros(len(self.replicas)),
        )
        return dict(zip(self.replicas, squares.clamp(min=0).sqrt().tolist(), strict=True))


def gather(fleet: Fleet, job: Job, start: RoundStart, trained: Mapping[int, Trained]) -> Gathered:
    """Have the replicas reveal the updates that all have committed to, and fold them."""
    names = {replica.index: replica.names for replica in fleet.ready(sorted(trained))}
    commitments = {index: trained[index].commitments for index in names}
    gathered = Gathered(start, commitments, names)
    for index in commitments:
        _check_commitments(gathered, job, index)
    while True:
        sound = [
            replica.index
            for replica in fleet.ready(sorted(commitments))
            if replica.index not in gathered.faults
        ]
        if _fold(fleet, job, gathered, sound):
            return gathered


def stream_blocks(
    fleet: Fleet, job: Job, gathered: Gathered, indices: Sequence[int]
) -> Iterator[tuple[BlockPlace, Blocks]]:
    """All blocks of some replicas' updates, by place; the next are on their way while these are
    looked at. Those of replicas that are lost are left out from there on; where all updates were
    kept, others' are among them. Whether they are what was committed to the caller looks at."""
    if gathered.kept:
        yield from gathered.kept.items()
        return
    stages = range(len(job.layouts))
    places = [(stage, block) for stage in stages for block in range(job.blocks_of_update(stage))]
    with ThreadPoolExecutor(1) as ahead:
        following = ahead.submit(_fetch, fleet, indices, places[0])
        for place, after in zip(places, [*places[1:], None], strict=True):
            blocks = following.result()
            if after is not None:
                following = ahead.submit(_fetch, fleet, indices, after)
            yield place, blocks
            del blocks  # or they would stay until after the next are here


def _fold(fleet: Fleet, job: Job, gathered: Gathered, indices: Sequence[int]) -> bool:
    """Once over all blocks. False where a replica has dropped out on the way: then all begins again
    without it."""
    gathered.replicas, gathered.sums = list(indices), [empty(len(indices)) for _ in job.layouts]
    keeps = job.keeps_updates(len(indices))
    if not indices:
        return True
    for (stage, number), blocks in stream_blocks(fleet, job, gathered, indices):
        for index, block in blocks.items():
            check_block(gathered, job, index, (stage, number), block)
        if len(blocks) < len(indices) or any(index in gathered.faults for index in indices):
            gathered.kept.clear()
            return False
        rows = [blocks[index] for index in indices]
        sums = fold_stage(rows, parameters_in(job.layouts[stage], number))
        if job.config.trust.enabled and not sums.finite.all():
            _set_apart(gathered, stage, itertools.compress(indices, ~sums.finite))
            return False
        gathered.sums[stage] += sums
        gathered.bytes += sum(row.nbytes for row in rows)
        if keeps:
            gathered.kept[stage, number] = blocks
        del rows, blocks  # before the next come
    return True


def _fetch(fleet: Fleet, indices: Sequence[int], place: BlockPlace) -> Blocks:
    stage, number = place
    # where a group was lost since, as over what it was to repeat, its nodes have the update still
    return fleet.each(
        lambda replica: replica.reveal(UPDATE, stage, number), fleet.mustered(indices)
    )


def _check_commitments(gathered: Gathered, job: Job, index: int) -> None:
    number, commitments = gathered.start.number, gathered.commitments[index]
    for stage, committed in enumerate(commitments):
        held_to = commitment(number, gathered.names[index][stage], root(committed.blocks))
        if committed.update != held_to or len(committed.blocks) != job.blocks_handed_in(stage):
            text = "it has not committed to an update of the right size"
            gathered.note_fault(index, stage, text)


def check_block(gathered: Gathered, job: Job, index: int, place: BlockPlace, block: object) -> bool:
    """Whether one block is right at first sight; what is wrong with it is noted. Without trust its
    form alone counts."""
    stage, number = place
    start, stop = block_span(job.layouts[stage].size, number)
    size = stop - start
    if not is_plain(block, (size,), torch.float32):
        kind = type(block).__name__
        if isinstance(block, torch.Tensor):
            kind = f"{block.dtype} of shape {tuple(block.shape)}"
        gathered.note_fault(index, stage, f"the update is {kind}, not float32 of shape ({size},)")
        return False
    committed = gathered.commitments[index][stage]
    if job.config.trust.enabled and digest(block).hex() != committed.blocks[number]:
        gathered.note_fault(index, stage, "the update is not the one that it had committed to")
        return False
    return True


def _set_apart(gathered: Gathered, stage: int, indices: Iterable[int]) -> None:
    """The replicas whose update of a stage holds more than numbers."""
    for index in indices:
        gathered.note_fault(index, stage, "the update has values that are not finite")
        gathered.diverged.add(index)
    gathered.kept.clear()


def parameters_in(layout: Layout, number: int) -> int:
    """How many of a block's numbers are parameters: the first."""
    start, stop = block_span(layout.size, number)
    return max(0, min(layout.parameters, stop) - start)


def updates_of(job: Job, gathered: Gathered, index: int) -> Mapping[int, str]:
    """The content of a replica's update, by stage."""
    return {
        stage: root(committed.blocks[: job.blocks_of_update(stage)])
        for stage, committed in enumerate(gathered.commitments[index])
    }
