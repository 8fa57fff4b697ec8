"""The states from which inner optimizers go on, where `sync.inner_state=kept` keeps them.

The states stay on their nodes. The coordinator knows their digests, to which the nodes have
committed, and orders each node to go on from one of them. A node that does not have the state, as
after a restart, begins with a fresh optimizer, and says so when it opens its trace. After a restart
of the coordinator, or when rounds were taken back, all begin afresh.

A false state does not show in the round that ends with it, and the steps of the next round are
right, from there on. So a state shares the fate of its round: where the update did not count, the
node begins afresh; and a round is only verified if the state that it began with was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tdml.common.merkle import root
from tdml.round.gather import Gathered
from tdml.round.job import Job
from tdml.trust.judgement import Judgement


@dataclass(frozen=True)
class _Left:
    """The inner state that a node's last round has ended with."""

    content: str  # its digest
    verified: bool  # whether others have repeated that round in full


class InnerStates:
    """By node and stage, the state that the node's last round has ended with, if that round
    counted."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._left: dict[tuple[str, int], _Left] = {}

    def contents(self, slots: Mapping[int, Sequence[str]]) -> dict[int, tuple[str, ...]]:
        """The digests of the states that the nodes in these slots go on from, by replica and stage,
        "" for a fresh optimizer; {} where the optimizers are fresh in every round."""
        if not self._job.config.sync.keeps_inner_state:
            return {}
        none = _Left("", True)
        return {
            index: tuple(self._left.get(place, none).content for place in _places(names))
            for index, names in slots.items()
        }

    def unverified(self, slots: Mapping[int, Sequence[str]]) -> frozenset[int]:
        """The replicas a node of which goes on from a state that nobody has verified."""
        left = {
            index: [self._left[place] for place in _places(names) if place in self._left]
            for index, names in slots.items()
        }
        return frozenset(i for i, each in left.items() if not all(one.verified for one in each))

    def close(
        self,
        slots: Mapping[int, Sequence[str]],
        gathered: Gathered,
        judgements: Mapping[int, Judgement],
    ) -> None:
        """Remember with what states the nodes in these slots end a round that was judged."""
        for index, names in slots.items():
            judgement = judgements.get(index)
            for name, stage in _places(names):
                self._left.pop((name, stage), None)
                if judgement is None or not judgement.accepted:
                    continue
                blocks = gathered.commitments[index][stage].blocks
                inner = blocks[self._job.blocks_of_update(stage) :]
                if inner:
                    self._left[name, stage] = _Left(root(inner), judgement.verified)

    def forget(self) -> None:
        """Have all nodes begin afresh."""
        self._left.clear()


def _places(names: Sequence[str]) -> list[tuple[str, int]]:
    return [(name, stage) for stage, name in enumerate(names)]
