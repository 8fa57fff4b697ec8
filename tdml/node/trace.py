"""What a node keeps of a round so that its work can be audited: its states between the windows, and
the log of what crossed its borders. The root over all of it is committed to before anybody knows
which window will be asked for."""

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

    `states` has the content of what each of the W windows leads to: the last is what is handed in.
    The first window starts from the global weights, which everybody knows, and where it is not
    fresh from the inner optimizer's state whose content is `inner`. `log` is that of the
    whole round, (steps, channels, 32) uint8; `signatures` are those of the other stages on what
    they have logged in common with this one, by stage, "" where nothing is.
    """

    states: tuple[Digest, ...]
    log: torch.Tensor
    signatures: tuple[Signature, ...]
    inner: DigestOrNone = ""

    @property
    def root(self) -> str:
        """What the node must have committed to."""
        states = [self.inner, *self.states] if self.inner else self.states
        return root([*map(_leaf, states), log_digest(self.log)])


@dataclass
class Trace:
    """One round of one node, in W windows. `bounds` are the W + 1 steps where these begin and end;
    `log` is that of all steps of the round."""

    bounds: tuple[int, ...]
    weights: torch.Tensor  # that the round starts from
    log: torch.Tensor
    signatures: tuple[str, ...] = ()
    inner: torch.Tensor | None = None  # that the optimizer starts from
    kept: list[torch.Tensor] = field(default_factory=list)
    opening: Opening | None = None
    _contents: list[Future[str]] = field(default_factory=list)

    def wants(self, step: int) -> bool:
        """Whether the state before this step is to be kept."""
        return step in self.bounds[1:-1]

    def keep(self, state: torch.Tensor) -> None:
        """The state before the next window; it is hashed while the node trains on."""
        self.kept.append(state)
        self._contents.append(_beside.submit(content, state))

    def seal(self, update: str) -> str:
        """Fix everything, with the content of what the node hands in; the root to commit to."""
        for _ in range(len(self.bounds) - 2 - len(self.kept)):  # steps left out
            self.keep(self.kept[-1] if self.kept else self.weights)
        states = (*(future.result() for future in self._contents), update)
        inner = "" if self.inner is None else content(self.inner)
        self.opening = Opening(states, self.log, self.signatures, inner)
        return self.opening.root

    def before(self, step: int) -> torch.Tensor | None:
        """The state that a window begins with at this step; at the round's first the inner one, if
        there was any."""
        return self.kept[self.bounds.index(step) - 1] if step else self.inner


def log_digest(log: torch.Tensor) -> str:
    """What names a log."""
    return digest(log).hex()


def _leaf(state: str) -> str:
    return hashlib.sha256(f"tdml border|{state}".encode()).hexdigest()
