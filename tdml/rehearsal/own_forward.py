"""What nodes train against the un-split model: what lies between the blocks, or passes between them
by another way than the tensor, would not be trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tdml.errors import SettingError, one_line, running_on
from tdml.models.split import is_plain_sequence
from tdml.rehearsal.chain import Batch, Chain
from tdml.rehearsal.unsplit import Asked, PassResult, Unsplit

_RELATIVE, _ABSOLUTE = 1e-3, 1e-5  # the same sums in another order are the same model
_ROUNDING = 1e-6


def check_own_forward(unsplit: Unsplit, chain: Chain, batch: Batch, seed: int) -> str:
    """Compare what the un-split model computes with what the chain does, in evaluation and in
    training: values, gradients, and what becomes of buffers.

    Returns why there is nothing to compare, in one line: `forward` takes or returns something else;
    "" if there is.

    Raises:
        SettingError: they differ.
    """
    told = [_check(unsplit, chain, batch, seed, training) for training in (False, True)]
    return told[0] or told[1]


def _check(unsplit: Unsplit, chain: Chain, batch: Batch, seed: int, training: bool) -> str:
    values = chain.learn(*batch, seed) if training else chain.evaluate(batch[0], seed)
    asked = Asked(*batch, seed, training, like=values[-1])
    try:
        with running_on():
            own = unsplit.own(asked)
    except Exception as error:
        if _must_work(unsplit.model):
            name = type(unsplit.model).__name__
            text = f"model: {name} fails on the first samples: {one_line(error)}"
            raise SettingError(text) from error
        return f"its forward() cannot be called as its blocks are ({one_line(error)})"
    _Comparison(unsplit, asked, own, _result_of(chain, values, training)).check()
    return "" if own.output is not None else "its forward() returns something else than its blocks"


def _result_of(chain: Chain, values: Sequence[torch.Tensor], training: bool) -> PassResult:
    given = dict(enumerate(values[:-1], start=1))
    return PassResult(given, values[-1], chain.gradients() if training else {}, chain.buffers())


@dataclass(frozen=True)
class _Comparison:
    """Of one pass: what the model itself and what the chain makes of it."""

    unsplit: Unsplit
    asked: Asked
    own: PassResult
    chain: PassResult

    def check(self) -> None:
        """Raises SettingError where the nodes would compute something else."""
        where = self._difference(self.own, self.chain)
        if not where or self._is_drawn():
            return
        model, mode = self.unsplit.model, "training" if self.asked.training else "evaluation"
        if self._difference(self.own, self.unsplit.in_turn(self.asked)):
            raise SettingError(_left_out(model, where, mode))
        raise SettingError(_parted(where, mode))

    def _is_drawn(self) -> bool:
        """Whether the model itself computes something else when it does so again."""
        return bool(self._difference(self.own, self.unsplit.own(self.asked, later=1)))

    def _difference(self, one: PassResult, other: PassResult) -> str:
        """Where the first is; "" if there is none."""
        for number in sorted(one.values.keys() & other.values.keys() - {0}):
            if not self._alike(one.values[number], other.values[number]):
                return f"before block {number}"
        if one.output is None or other.output is None:
            return ""
        if not self._alike(one.output, other.output):
            return "before it returns"
        for name in sorted(one.buffers.keys() & other.buffers.keys()):
            if not self._alike(one.buffers[name], other.buffers[name]):
                return f"to the buffer {name}"
        return _differing_gradient(one.gradients, other.gradients)

    def _alike(self, one: torch.Tensor, other: torch.Tensor) -> bool:
        relative, absolute = _RELATIVE, _ABSOLUTE
        if _is_exact(self.unsplit.model):
            relative, absolute = _ROUNDING, _ROUNDING * float(one.abs().max())
        return one.shape == other.shape and torch.allclose(
            one.float(), other.float(), relative, absolute, equal_nan=True
        )


def _differing_gradient(
    one: Mapping[str, torch.Tensor | None], other: Mapping[str, torch.Tensor | None]
) -> str:
    """No gradient, and one of zeros, are alike: what the optimizer makes of them is looked at by
    itself."""
    for name in (name for name in one if name in other):
        pair = [gradient for gradient in (one[name], other[name]) if gradient is not None]
        if not pair or (len(pair) > 1 and torch.equal(*pair)):
            continue
        difference = pair[0] - pair[1] if len(pair) > 1 else pair[0]
        noise = _ABSOLUTE * max(map(_largest, one.values()))
        if not _largest(difference) <= _RELATIVE * max(map(_largest, pair)) + noise:
            return f"to the gradient of {name}"
    return ""


def _largest(gradient: torch.Tensor | None) -> float:
    if gradient is None or not gradient.numel():
        return 0.0
    return float(gradient.abs().max())


def _must_work(model: nn.Module) -> bool:
    return _is_exact(model) or is_plain_sequence(model)


def _is_exact(model: nn.Module) -> bool:
    """Whether somebody else has cut it into blocks, which must do the very same, and not only
    nearly."""
    return getattr(model, "blocks_are_exact", False)


def _parted(where: str, mode: str) -> str:
    return (
        f"model: its stages, each built by itself, do something else {where} (in {mode}) than the "
        "model in one piece: what a block keeps for another outside of parameters and buffers, "
        "such as a mask or a layer in a list, does not cross a cut, nor does what it changes in a "
        "weight of both. Hand it on in the tensor, choose other topology.cuts, or set "
        "topology.stages=1"
    )


def _left_out(model: nn.Module, where: str, mode: str) -> str:
    return (
        f"model: {type(model).__name__} does something {where} that none of its blocks does (in "
        f"{mode}), and only blocks are trained: put functions such as relu or flatten into blocks "
        "of their own (nn.ReLU(), nn.Flatten()), and so with hooks and a train() of its own; what "
        "no_grad() or detach() keeps from being trained is frozen by requires_grad_(False); of "
        "model=hf take another architecture"
    )
