"""The kinds of machines that take part: what disputes have taught a run about them."""

import math
from collections.abc import Mapping

import torch

from tdml.round.referee import Recomputation, Referee, item_digest
from tdml.trust.numbers import ERRORS
from tdml.trust.tolerance import Tolerance

_SMALL = torch.finfo(torch.float32).max ** 0.25  # products of some such numbers are finite


class MachineKinds:
    """How far the results of other kinds of machines may differ from the coordinator's, and which
    kinds do not even repeat their own."""

    def __init__(self, referee: Referee) -> None:
        self._referee = referee
        self.tolerance = Tolerance()
        # kinds and stages of which the coordinator has found a step right that nobody had disputed
        self.confirmed: set[tuple[str, int]] = set()
        # kinds that do not repeat their own results, or the coordinator's: a difference may be the
        # machine's fault, so nobody on such a kind is convicted by one
        self.unrepeatable: set[str] = set()
        # the model draws random numbers, others on other kinds: so looks at these tell nothing
        self.draws_differ = False

    def is_right(
        self, recomputed: Recomputation, digest: str, kind: str, value: list[torch.Tensor] | None
    ) -> bool | None:
        """Whether what a party says of an item is true; None if this machine cannot tell.

        Args:
            digest: of the item, as the party says.
            kind: of the party's machine.
            value: the tensors that it shows as the item; None if it shows none.
        """
        if digest == recomputed.digest:
            return True
        if (
            kind == self._referee.kind
            or value is None
            or digest != item_digest(recomputed.item, value)
        ):
            return False
        error = self._referee.error(recomputed, value)
        limit = self.tolerance.limit(kind, self._referee.kind)
        if error <= limit:
            if (
                recomputed.item.channel < 0
            ):  # messages, of norms above all, are much nearer than states
                self.tolerance.learn(kind, self._referee.kind, error)
            return True
        # from one seed GPUs, and processors of other makers, draw other numbers, as for dropout
        if recomputed.drew:
            self.draws_differ = True
            return None
        return self._is_rounded(recomputed, value, error, limit)

    def _is_rounded(
        self, recomputed: Recomputation, value: list[torch.Tensor], error: float, limit: float
    ) -> bool | None:
        """Whether rounding explains a larger error than steps have had before; None if nobody
        knows."""
        # a mask has infinities, and is equal
        if error == math.inf and not all(t.isfinite().all() for t in (*recomputed.value, *value)):
            return None if self._may_overflow(recomputed) else False
        spread = max(limit, self._referee.spread(recomputed))
        if error <= spread < math.inf:
            return True
        return None if error <= ERRORS * spread else False

    def _may_overflow(self, recomputed: Recomputation) -> bool:
        """Whether a step may overflow on one kind of machine and not on another. With very large
        numbers that depends on the order of a sum, elsewhere on rounding. If not, whoever says that
        it has overflowed, or has not, has not taken the step."""
        window, before = recomputed.window, recomputed.shown.before
        weights = window.weights[recomputed.item.stage]
        start = [] if before is None else [before]
        start += [weights] if window.order.first + recomputed.item.step == 0 else []
        received = (each for message in recomputed.shown.messages.values() for each in message)
        known = (*start, *received, *recomputed.value)
        small = all(_is_small(tensor, weights) for tensor in known)
        return not small or self._referee.spread(recomputed) == math.inf

    def state(self) -> dict:
        """What a checkpoint must keep."""
        return {
            "tolerance": self.tolerance.seen,
            "confirmed": sorted(self.confirmed),
            "unrepeatable": sorted(self.unrepeatable),
            "blind": self.draws_differ,
        }

    def restore(self, state: Mapping) -> None:
        """Undo `state`."""
        self.tolerance.seen = dict(state["tolerance"])
        self.confirmed = set(state["confirmed"])
        self.unrepeatable = set(state["unrepeatable"])
        self.draws_differ = state["blind"]


def _is_small(tensor: torch.Tensor, weights: torch.Tensor) -> bool:
    """Whether products of a tensor's numbers have finite sums. Numbers that are infinite in the
    global weights, too, such as a mask's, are left out."""
    large = ~(tensor.float().abs() < _SMALL)
    if tensor.dim() == 1 and len(tensor) >= len(weights):
        large[: len(weights)] &= ~(weights.isinf() & (tensor[: len(weights)] == weights))
    return not large.any()
