"""What a node keeps of a round so that its work can be audited: its states between the windows, and
the log of the messages that it has sent and received. It commits to the root over all of that
before anybody knows which windows will be audited."""

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from tdml.common.digest import digest
from tdml.common.merkle import root
from tdml.protocol.orders import Signature
from tdml.protocol.statement import Digest, DigestOrNone
from tdml.trust.commitment import content

_beside = ThreadPoolExecutor(1, "hash")


@dataclass(frozen=True)
class Opening:
    """A trace as it is revealed.

    The first of the W windows starts from the global weights, which everybody knows.
    """

    states: tuple[Digest, ...]  # after each of the W windows; the last is what is handed in
    log: torch.Tensor  # of the whole round, (steps, channels, 32) uint8
    signatures: tuple[Signature, ...]  # by stage, on what it has logged, too; "": nothing
    inner: DigestOrNone = ""  # of the state that the inner optimizer starts from; "": fresh

    @property
    def root(self) -> str:
        """What the node must have committed to."""
        states = [self.inner, *self.states] if self.inner else self.states
        return root([*map(_leaf, states), log_digest(self.log)])


@dataclass
class Trace:
    """One round of one node, in W windows."""

    bounds: tuple[int, ...]  # the W + 1 steps where the windows begin and end
    weights: torch.Tensor  # that the round starts from
    log: torch.Tensor  # of all steps of the round
    signatures: tuple[str, ...] = ()  # as in `Opening`
    inner: torch.Tensor | None = None  # the state that the optimizer starts from; None: fresh
    kept: list[torch.Tensor] = field(default_factory=list)  # states between the windows
    opening: Opening | None = None  # once the trace is sealed
    _contents: list[Future[str]] = field(default_factory=list)

    def wants(self, step: int) -> bool:
        """Whether the state before this step is to be kept."""
        return step in self.bounds[1:-1]

    def keep(self, state: torch.Tensor) -> None:
        """Keep the state before the next window. It is hashed while the node trains on."""
        self.kept.append(state)
        self._contents.append(_beside.submit(content, state))

    def seal(self, update: str) -> str:
        """Finish the trace, with the digest of what the node hands in. Returns the root to commit
        to."""
        for _ in range(len(self.bounds) - 2 - len(self.kept)):  # of a node that has left out steps
            self.keep(self.kept[-1] if self.kept else self.weights)
        states = (*(future.result() for future in self._contents), update)
        inner = "" if self.inner is None else content(self.inner)
        self.opening = Opening(states, self.log, self.signatures, inner)
        return self.opening.root

    def before(self, step: int) -> torch.Tensor | None:
        """The state before the window that begins at this step; before the first window, that of
        the inner optimizer, None if it was fresh."""
        return self.kept[self.bounds.index(step) - 1] if step else self.inner


def log_digest(log: torch.Tensor) -> str:
    """The digest of a log."""
    return digest(log).hex()


def _leaf(state: str) -> str:
    return hashlib.sha256(f"tdml border|{state}".encode()).hexdigest()
