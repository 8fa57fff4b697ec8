"""What a node keeps of a round so that its work can be audited: its states between the windows, and what crossed its
borders. The root over all of it is committed to before anybody knows which window will be asked for."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tdml.ledger.merkle import root
from tdml.trust.commitment import content


@dataclass(frozen=True)
class Opening:
    """A tape as it is revealed: digests of everything, and the tensors of the windows that were asked for.

    `states` has a digest for each of the W + 1 ends of windows: the first is that of the global weights, the last that
    of the update. `records` has one for each window. `starts` holds the state at the start of each window asked for,
    None for the first, which starts from the global weights; `sketches` what crossed the borders in it.
    """

    states: tuple[str, ...]
    records: tuple[str, ...]
    starts: tuple[torch.Tensor | None, ...] = ()
    sketches: tuple[torch.Tensor, ...] = ()

    @property
    def root(self) -> str:
        """What the node must have committed to."""
        return root([_leaf(*pair) for pair in zip(self.states, ("", *self.records), strict=True)])

    def has(self, windows: int, shown: int) -> bool:
        """Whether it is of a round of that many windows, and shows that many of them."""
        parts = self.states, self.records, self.starts, self.sketches
        sizes = windows + 1, windows, shown, shown
        return all(isinstance(p, tuple) and len(p) == size for p, size in zip(parts, sizes, strict=True))


class Tape:
    """One round of one node, in W windows. `edges` are the W + 1 steps where windows begin and end."""

    def __init__(self, edges: Sequence[int], weights: torch.Tensor, records: torch.Tensor) -> None:
        """
        Args:
            weights: the global weights that the round starts from.
            records: of all steps of the round; see `tdml.training.borders.empty`.
        """
        self.edges, self.records = tuple(edges), records
        self._weights = weights
        self._kept: list[torch.Tensor] = []
        self._opening: Opening | None = None

    def wants(self, step: int) -> bool:
        """Whether the state before this step is to be kept."""
        return step in self.edges[1:-1]

    def keep(self, state: torch.Tensor) -> None:
        """The state at the next border between windows."""
        self._kept.append(state)

    def seal(self, update: torch.Tensor) -> str:
        """Fix everything, with the update that the node hands in; the root to commit to."""
        inner = len(self.edges) - 2
        self._kept += [self._kept[-1] if self._kept else self._weights] * (inner - len(self._kept))  # steps left out
        states = (content(self._weights), *map(content, self._kept), content(update))
        self._opening = Opening(states, tuple(content(self._window(w)) for w in range(len(self.edges) - 1)))
        return self._opening.root

    def open(self, windows: Sequence[int]) -> Opening:
        """Reveal some windows, numbered from 0."""
        assert self._opening is not None
        starts = tuple(self.border(window) for window in windows)
        return Opening(self._opening.states, self._opening.records, starts, tuple(map(self._window, windows)))

    def border(self, window: int) -> torch.Tensor | None:
        """The state before a window; None before the first."""
        return self._kept[window - 1] if window else None

    def _window(self, window: int) -> torch.Tensor:
        return self.records[self.edges[window] : self.edges[window + 1]]


def _leaf(state: str, records: str) -> str:
    return hashlib.sha256(f"tdml border|{state}|{records}".encode()).hexdigest()
