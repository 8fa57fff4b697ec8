"""Commit before reveal: the updates of a round come to the coordinator block by block, and are
folded into sums.

Nobody reveals before all have committed, and every block is checked against the digest that its
node has committed to. The coordinator keeps the sums, which are all that the judgement needs. It
keeps the updates themselves only where all of them fit into `gather.memory`; else it asks for them
a second time when it takes the mean.
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
from tdml.round.round_start import RoundStart
from tdml.trust.commitment import block_span, commitment, is_plain
from tdml.trust.fold import StageSums, empty, fold_stage
from tdml.trust.judgement import Proof

BlockPlace = tuple[int, int]  # stage and number of a block
Blocks = dict[int, torch.Tensor]  # one place, by replica


@dataclass
class Gathered:
    """The updates of a round."""

    start: RoundStart  # what all replicas were ordered to do, also those that handed in nothing
    commitments: dict[int, list[Commitment]]  # by replica and stage
    names: dict[int, tuple[str, ...]]  # of the nodes, by replica and stage
    replicas: list[int] = field(default_factory=list)  # whose updates can be averaged
    sums: list[StageSums] = field(default_factory=list)  # by stage; the rows are `replicas`
    faults: dict[int, dict[int, str]] = field(default_factory=dict)  # by replica and stage
    # replicas whose only fault is an update that is not finite: honest steps may lead there
    diverged: set[int] = field(default_factory=set)
    kept: dict[BlockPlace, Blocks] = field(default_factory=dict)  # the updates, if there is room
    bytes: int = 0  # received

    def note_fault(self, index: int, stage: int, text: str) -> None:
        """Note what is wrong with a replica's update of a stage."""
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
        """The replicas that can be audited: they have handed in an update, finite or not."""
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
    """The blocks of some replicas' updates, place by place; the next are fetched meanwhile.

    The caller has to check that the blocks are there, and that they are what was committed to: a
    replica that is lost is missing from there on. Where all updates were kept, those of other
    replicas are among them.
    """
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
    """Fold all blocks of some replicas' updates. False if a replica has dropped out on the way: the
    caller begins again without it."""
    gathered.replicas, gathered.sums = list(indices), [empty(len(indices)) for _ in job.layouts]
    keeps = _may_keep(job, len(indices))
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


def _may_keep(job: Job, replicas: int) -> bool:
    """Whether the updates of so many replicas may be kept until their mean is taken."""
    numbers = replicas * sum(layout.size for layout in job.layouts)
    return numbers * torch.float32.itemsize <= job.config.gather.memory * 2**20


def _fetch(fleet: Fleet, indices: Sequence[int], place: BlockPlace) -> Blocks:
    stage, number = place
    # a replica that was lost since, as when it repeated others' work, still has its update
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
    """Whether a block has the form, and with trust the digest, that was committed to; what is wrong
    with it is noted."""
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
    """Note that these replicas' updates of a stage are not finite."""
    for index in indices:
        gathered.note_fault(index, stage, "the update has values that are not finite")
        gathered.diverged.add(index)
    gathered.kept.clear()


def parameters_in(layout: Layout, number: int) -> int:
    """How many of a block's numbers are parameters, which come before the buffers."""
    start, stop = block_span(layout.size, number)
    return max(0, min(layout.parameters, stop) - start)


def updates_of(job: Job, gathered: Gathered, index: int) -> Mapping[int, str]:
    """The digests of a replica's update, by stage."""
    return {
        stage: root(committed.blocks[: job.blocks_of_update(stage)])
        for stage, committed in enumerate(gathered.commitments[index])
    }
