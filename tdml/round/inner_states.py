"""What the inner optimizers of nodes go on from, where `sync.inner_state=kept` has them do so.

Their states stay where they are: the coordinator knows what a node has committed to, and orders it
to go on from there. Whoever holds no such state, as after it was started again, begins with a fresh
one, and says so when it opens its trace; so does everybody after the coordinator was started again,
or rounds were taken back.

A made-up state shows in no update before the next round's, whose steps are right then. So a state
goes with its round: where that did not count, its nodes begin anew. And where a round has not been
found right as a whole, and what it began with, the next is not proven by its steps alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tdml.common.merkle import root
from tdml.round.gather import Gathered
from tdml.round.job import Job
from tdml.trust.judgement import Judgement


@dataclass(frozen=True)
class _Left:
    """What a node's last round has left, and whether others have found that."""

    content: str
    found: bool


class InnerStates:
    """By node and stage, what its last round has left, if that counted."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._left: dict[tuple[str, int], _Left] = {}

    def of(self, slots: Mapping[int, Sequence[str]]) -> dict[int, tuple[str, ...]]:
        """The contents by replica and stage, "" where nothing is known, for the nodes that sit
        there; empty where all begin anew in every round."""
        if not self._job.config.sync.keeps_inner_state:
            return {}
        none = _Left("", True)
        return {
            index: tuple(self._left.get(place, none).content for place in _places(names))
            for index, names in slots.items()
        }

    def unfound(self, slots: Mapping[int, Sequence[str]]) -> frozenset[int]:
        """The replicas of which somebody goes on from what nobody has found."""
        left = {
            index: [self._left[place] for place in _places(names) if place in self._left]
            for index, names in slots.items()
        }
        return frozenset(i for i, each in left.items() if not all(one.found for one in each))

    def close(
        self,
        slots: Mapping[int, Sequence[str]],
        gathered: Gathered,
        judgements: Mapping[int, Judgement],
    ) -> None:
        """Note what has become of a round of these nodes."""
        for index, names in slots.items():
            judgement = judgements.get(index)
            for name, stage in _places(names):
                self._left.pop((name, stage), None)
                if judgement is None or not judgement.accepted:
                    continue
                blocks = gathered.commitments[index][stage].blocks
                inner = blocks[self._job.blocks_of_update(stage) :]
                if inner:
                    self._left[name, stage] = _Left(root(inner), judgement.proven)

    def forget(self) -> None:
        """All begin anew."""
        self._left.clear()


def _places(names: Sequence[str]) -> list[tuple[str, int]]:
    return [(name, stage) for stage, name in enumerate(names)]
