"""How many steps each replica takes: slow ones take fewer.

All replicas wait for the slowest. So one that is slow, round after round, takes as many steps as it
can while the others take theirs: on the first samples of its round, at the learning rates of the
round's first steps. Its update weighs accordingly less.
"""

import statistics
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

# times what the others take for a step. Of four replicas on two processors that twenty programs
# share none was slower than 1.06 in three rounds in a row
_SLOW = 1.25
_STEADY = 3  # rounds in a row


@dataclass
class _Known:
    """How slow the nodes of a replica are."""

    names: tuple[str, ...]  # of the nodes
    # the time of a step in each of the last rounds, as a multiple of the median replica's
    times: deque[float] = field(default_factory=lambda: deque(maxlen=_STEADY))
    told: bool = False  # the user knows that they are slow


class Balance:
    """How fast the replicas are, and how many steps they take therefore.

    Args:
        full: H of each replica: the steps of a round.
        enabled: `sync.balance`; else all take all of their steps.
    """

    def __init__(self, full: Sequence[int], enabled: bool) -> None:
        self._full, self._enabled = list(full), enabled
        self._known: dict[int, _Known] = {}  # by replica
        self._paces: dict[int, float] = {}  # seconds a step in the round that is played, by replica

    def note(self, index: int, steps: int, seconds: float) -> None:
        """Note how long a replica took for its steps. Called on the threads that wait for them."""
        self._paces[index] = seconds / steps

    def close(self, names: Mapping[int, Sequence[str]], late: Collection[int]) -> None:
        """Take in the times of a round in which all have trained, on nodes of these `names`. A
        replica that was `late` counts as slow at once: the second time it would be given up."""
        typical = statistics.median_low(self._paces.values()) if self._paces else 0.0
        for index, pace in self._paces.items():
            nodes = tuple(names[index])
            if index not in self._known or self._known[index].names != nodes:
                self._known[index] = _Known(nodes)
            rounds = _STEADY if index in late else 1
            self._known[index].times.extend([pace / typical] * rounds)
        self._paces = {}

    def steps(self, slots: Mapping[int, Sequence[str]]) -> dict[int, int]:
        """The steps that each replica takes in the next round, with these nodes: all of them,
        unless the nodes are known to be slow."""
        return {index: self._fitting(index, tuple(names)) for index, names in slots.items()}

    def fewer(self, slots: Mapping[int, Sequence[str]]) -> dict[int, int]:
        """The same, only for replicas that take fewer than all."""
        steps = self.steps(slots)
        return {index: taken for index, taken in steps.items() if taken < self._full[index]}

    def news(self, steps: Mapping[int, int]) -> list[str]:
        """What to tell the user of replicas that take fewer steps from this round on."""
        notes = []
        for index, taken in steps.items():
            full, known = self._full[index], self._known.get(index)
            if known is None:
                continue
            if taken < full and not known.told:
                notes.append(
                    f"replica {index} is slow: from now on it takes {taken} of {full} steps, or as "
                    "many as it can while the others take theirs"
                )
            known.told = taken < full
        return notes

    def _fitting(self, index: int, names: tuple[str, ...]) -> int:
        full, known = self._full[index], self._known.get(index)
        if not self._enabled or known is None or known.names != names:
            return full
        slow = len(known.times) == _STEADY and min(known.times) > _SLOW
        return max(1, round(full / min(known.times))) if slow else full

    def state(self) -> dict:
        """What a checkpoint must keep."""
        return {
            i: [list(known.names), list(known.times), known.told]
            for i, known in self._known.items()
        }

    def restore(self, state: Mapping) -> None:
        """Undo `state`."""
        for index, (names, times, told) in state.items():
            self._known[index] = _Known(tuple(names), deque(times, maxlen=_STEADY), told)
