"""What audited replicas show of a round: states, and what crossed their borders, as they had committed to them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from tdml.cluster.exchange import ReplicaLost
from tdml.cluster.fleet import Fleet
from tdml.cluster.gather import Gathered
from tdml.cluster.replica import Replica
from tdml.job import Job
from tdml.models.layout import change
from tdml.training import borders
from tdml.training.tape import Opening
from tdml.trust.audit import LIED, UNSETTLED, Outcome
from tdml.trust.commitment import content, is_plain

_T = TypeVar("_T")


@dataclass(frozen=True)
class Window:
    """One window of a replica's round; both by number."""

    replica: int
    number: int


class Claims:
    """What the audited replicas claim. `refusals` has the outcome for those that could not show what they had committed
    to.

    A replica that was lost since it handed in its update is asked too: a node needs no neighbour to show its work, so
    that nobody escapes the audit by failing before it.
    """

    def __init__(self, job: Job, fleet: Fleet, found: Gathered, weights: Sequence[torch.Tensor]) -> None:
        """`weights` are the global weights that the round started from, by stage."""
        self._job, self._fleet, self._found, self._weights = job, fleet, found, weights
        self._openings: dict[int, tuple[tuple[int, ...], list[Opening]]] = {}
        self._ends: dict[Window, list[torch.Tensor] | None] = {}
        self.refusals: dict[int, Outcome] = {}

    def open(self, windows: Mapping[int, tuple[int, ...]]) -> Collection[int]:
        """Have replicas show some of their windows; returns those whose showings are what they had committed to."""
        for index, openings in self._shown(lambda replica: replica.open(windows[replica.index]), windows).items():
            holds = [self._holds(index, stage, opening, windows[index]) for stage, opening in enumerate(openings)]
            if all(holds):
                self._openings[index] = windows[index], openings
            else:
                self._refuse(index, [stage for stage, sound in enumerate(holds) if not sound])
        return self._openings.keys()

    # Of a window that was opened

    def is_last(self, window: Window) -> bool:
        """Whether it is the round's last, which ends with the update."""
        return window.number == len(self._job.edges(window.replica)) - 2

    def start(self, window: Window, stage: int) -> torch.Tensor | None:
        """The state of a stage before the window; None for the global weights."""
        windows, openings = self._openings[window.replica]
        return openings[stage].starts[windows.index(window.number)]

    def origin(self, window: Window, stage: int) -> torch.Tensor:
        """Where the window began, in the terms of its end: a state, or the update so far."""
        weights, start = self._weights[stage], self.start(window, stage)
        if self.is_last(window):
            return torch.zeros_like(weights) if start is None else change(weights, start[: len(weights)])
        if start is not None:
            return start
        return torch.cat([weights, torch.zeros(self._size(stage, last=False) - len(weights))])

    def sketches(self, window: Window) -> list[torch.Tensor]:
        """What crossed the borders of every stage."""
        windows, openings = self._openings[window.replica]
        return [opening.sketches[windows.index(window.number)] for opening in openings]

    def digests(self, window: Window) -> tuple[str, ...]:
        """Of the window's end, by stage."""
        _, openings = self._openings[window.replica]
        return tuple(opening.states[window.number + 1] for opening in openings)

    def ends(self, window: Window) -> list[torch.Tensor] | None:
        """The window's end, by stage; None if the replica cannot show it."""
        if window not in self._ends:
            self._ends[window] = self._show_ends(window)
        return self._ends[window]

    # What fits

    def digest(self, stage: int, end: object, last: bool) -> str:
        """Of a stage's state, or of its update at the round's end; "" of what is neither."""
        return content(end) if is_plain(end, (self._size(stage, last),), torch.float32) else ""

    def records_shape(self, window: Window) -> torch.Size:
        """Of the sketches of one node."""
        first, stop = self._job.edges(window.replica)[window.number : window.number + 2]
        config, parts = self._job.config, self._job.plan.parts // self._job.config.topology.stages
        return borders.empty(stop - first, parts, config.microbatches, config.stages_that_tell_norms).shape

    def _size(self, stage: int, last: bool) -> int:
        return self._job.layouts[stage].size if last else self._job.states[stage].size

    # What is shown

    def _shown(self, order: Callable[[Replica], _T], indices: Collection[int]) -> dict[int, _T]:
        """What replicas show. A node that is there and does not answer as it must is to blame for that."""

        def ask(replica: Replica) -> _T:
            try:
                return order(replica)
            except ReplicaLost as loss:
                failing = {failure.node for failure in loss.failures}
                absent = [s for s, node in enumerate(replica.nodes) if node.dead]
                refusing = [s for s, node in enumerate(replica.nodes) if node.name in failing and not node.dead]
                self._refuse(replica.index, refusing, absent)
                raise

        return self._fleet.each(ask, self._fleet.seated(indices))

    def _refuse(self, index: int, refusing: Sequence[int], absent: Sequence[int] = ()) -> None:
        texts = [f"stage {stage} cannot show the work that it had committed to" for stage in refusing]
        texts += [f"stage {stage} was gone when it had to show its work" for stage in absent]
        result = LIED if refusing else UNSETTLED
        self.refusals[index] = Outcome(result, f"audit: {'; '.join(texts)}", tuple(refusing), absent=tuple(absent))

    def _holds(self, index: int, stage: int, opening: object, windows: Sequence[int]) -> bool:
        """Whether what a node shows is what it had committed to, from the global weights to its update."""
        edges = self._job.edges(index)
        if not isinstance(opening, Opening) or not opening.has(len(edges) - 1, len(windows)):
            return False
        ends = content(self._weights[stage]), self._found.contents[index][stage]
        bound = opening.root == self._found.commitments[index][stage].states
        if not bound or (opening.states[0], opening.states[-1]) != ends:
            return False
        for window, start, sketches in zip(windows, opening.starts, opening.sketches, strict=True):
            shape = self.records_shape(Window(index, window))
            if not is_plain(sketches, shape, torch.float64) or content(sketches) != opening.records[window]:
                return False
            if window and self.digest(stage, start, last=False) != opening.states[window]:
                return False
        return True

    def _show_ends(self, window: Window) -> list[torch.Tensor] | None:
        if self.is_last(window):
            return self._found.update(window.replica)
        shown = self._shown(lambda replica: replica.border(window.number + 1), [window.replica])
        if not (ends := shown.get(window.replica)):
            return None
        digests = self.digests(window)
        false = [s for s, end in enumerate(ends) if self.digest(s, end, last=False) != digests[s]]
        if false:
            self._refuse(window.replica, false)
        return None if false else ends
