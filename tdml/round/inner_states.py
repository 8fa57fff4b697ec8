"""What the inner optimizers of nodes go on from, where `sync.inner_state=kept` has them do so.

Their states stay where they are: the coordinator knows what a node has committed to, and orders it
to go on from there. Whoever holds no such state, as after it was started again, begins with a fresh
one, and says so when it opens its trace; so does everybody after the coordinator was started again,
or rounds were taken back.
"""

from collections.abc import Mapping, Sequence

from tdml.common.merkle import root
from tdml.round.gather import Gathered
from tdml.round.job import Job


class InnerStates:
    """By node and stage, the content of what its last round that was handed in has left."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._left: dict[tuple[str, int], str] = {}

    def of(self, slots: Mapping[int, Sequence[str]]) -> dict[int, tuple[str, ...]]:
        """By replica and stage, for the nodes that sit there."""
        if not self._job.config.sync.keeps_inner_state:
            return {}
        return {
            index: tuple(self._left.get((name, stage), "") for stage, name in enumerate(names))
            for index, names in slots.items()
        }

    def note(self, gathered: Gathered) -> None:
        """What the nodes of a round have committed to."""
        if not self._job.config.sync.keeps_inner_state:
            return
        for index, names in gathered.names.items():
            for stage, name in enumerate(names):
                blocks = gathered.commitments[index][stage].blocks
                inner = blocks[self._job.blocks_of_update(stage) :]
                self._left[name, stage] = root(inner)

    def forget(self) -> None:
        """All start anew."""
        self._left.clear()
