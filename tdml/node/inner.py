"""The inner optimizer: it starts fresh in every round, or goes on from where the node's last round
has left it (`sync.inner_state`).

Kept, its state is committed to and audited like the weights, stays on its node, and is gone with
it. AdamW pays for a fresh start: it measures the gradients anew in every round.
"""

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch.optim import Optimizer

from tdml.errors import SettingError
from tdml.settings.schema import Train
from tdml.settings.targets import check_words, is_path, made, partial_of

# which take a closure, or sparse gradients; and the class of all of them
_OTHERS = {torch.optim.LBFGS, torch.optim.SparseAdam, Optimizer}
_TORCHS = {
    name.lower(): value
    for name, value in vars(torch.optim).items()
    if isinstance(value, type) and issubclass(value, Optimizer) and value not in _OTHERS
}

# what torch can fuse on every device (of SGD it takes a fifth off, and torch's own fails where a
# parameter has its first gradient later than others), and how else its steps can be computed
_FUSED = {torch.optim.Adam, torch.optim.AdamW}
_HOW = {"fused", "foreach", "capturable", "differentiable"}
_SHARE = "share_of_rate"  # of a group of parameters


def inner_optimizer(
    train: Train, parameters: Iterable[torch.Tensor], fused: bool = True
) -> Optimizer | None:
    """What `train.optimizer` names, over one node's parameters; None where a stage has none.

    Args:
        fused: whether torch's own go through memory once a step, where the settings do not
            choose. AdamW takes a third of the time so.

    Raises:
        SettingError: as `optimizers`.
    """
    return optimizers(train, fused)(parameters)


def optimizers(
    train: Train, fused: bool = True
) -> Callable[[Iterable[torch.Tensor]], Optimizer | None]:
    """What makes an inner optimizer again and again, of parameters: None where there are none.
    `fused` as for one.

    Raises:
        SettingError: there is no such optimizer; or, when one is made, it does not take its
            arguments or these parameters.
    """
    name, make = train.optimizer["_target_"], _factory(train.optimizer)
    arguments = _arguments(train, make)
    fused = fused and make.func in _FUSED and not _HOW & make.keywords.keys()

    def fresh(parameters: Iterable[torch.Tensor]) -> Optimizer | None:
        parameters = list(parameters)
        if not parameters:
            return None
        how = {"fused": True} if fused and all(map(_is_dense, parameters)) else {}
        optimizer = made(
            "train.optimizer", name, make, _groups(train, parameters), **arguments, **how
        )
        if not isinstance(optimizer, Optimizer):
            raise SettingError(
                f"train.optimizer={name} returned {type(optimizer).__name__}: it must return a "
                "torch.optim.Optimizer"
            )
        if how:
            optimizer.register_step_pre_hook(_lay_gradients_out)
        _note_shares(optimizer, arguments.get("lr"))
        return optimizer

    return fresh


def _is_dense(parameter: torch.Tensor) -> bool:
    """Whether its numbers lie in memory without gaps."""
    return parameter.is_contiguous() or parameter.is_contiguous(memory_format=torch.channels_last)


def _lay_gradients_out(optimizer: Optimizer, *_: Any) -> None:
    """Lay gradients out in memory as their parameters are: where they differ, torch's fused steps
    on a processor take wrong pairs."""
    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        gradient = parameter.grad
        if gradient is None or gradient.is_sparse:  # of which the optimizer says what to do
            continue
        if gradient.stride() != parameter.stride():
            parameter.grad = torch.empty_like(parameter).copy_(gradient)


def _note_shares(optimizer: Optimizer, lr: float | None) -> None:
    """An optimizer may give some of its parameters another rate: each group keeps its share of the
    rate that the optimizer was made with, None where it takes none and has one of its own."""
    whole = optimizer.defaults.get("lr") if lr is None else lr
    for group in optimizer.param_groups:
        own = group.get("lr")
        group[_SHARE] = own / whole if own is not None and whole else 1.0


def set_rate(optimizer: Optimizer, lr: float) -> None:
    """The learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group[_SHARE]


def _factory(settings: dict[str, Any]) -> partial:
    target = settings["_target_"]
    kind = _TORCHS.get(target.lower())
    if kind is None and not is_path(target):
        raise SettingError(
            f"train.optimizer={target} is unknown: choose one of {', '.join(sorted(_TORCHS))}, or "
            "name your own with train.optimizer._target_=…"
        )
    if "lr" in settings:
        raise SettingError(
            "train.optimizer.lr is set for every step: give it as train.lr (and see train.schedule)"
        )
    if kind is None:
        return partial_of(settings, "train.optimizer")
    given = {name: value for name, value in settings.items() if name != "_target_"}
    made("train.optimizer", target, check_words, kind, given)
    return partial(kind, **given)


def _arguments(train: Train, make: partial) -> dict[str, Any]:
    """The settings of the group `train` that are arguments of the optimizer, and that its own
    settings do not give."""
    name = train.optimizer["_target_"]
    takes = made("train.optimizer", name, _taken_by, make.func)
    if train.weight_decay and "weight_decay" not in takes:
        raise SettingError(
            f"train.weight_decay={train.weight_decay}: {name} has none: set train.weight_decay=0"
        )
    shared = {"lr": train.lr, "weight_decay": train.weight_decay, "momentum": train.momentum}
    return {
        name: value for name, value in shared.items() if name in takes and name not in make.keywords
    }


def _taken_by(make: Callable) -> set[str]:
    """The names of the arguments that a function or class takes; of a class that passes on whatever
    it is given, also those of its bases."""
    names: set[str] = set()
    for each in (make, *inspect.getmro(make)[1:]) if isinstance(make, type) else (make,):
        parameters = inspect.signature(each).parameters
        names |= parameters.keys()
        if all(p.kind is not inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            break
    return names


def _groups(train: Train, parameters: list[torch.Tensor]) -> list[Any]:
    """Parameters, or groups of them. Norms and biases are what has one dimension, as everywhere."""
    if train.decay_norms_and_biases:
        return parameters
    matrices = {"params": [p for p in parameters if p.dim() > 1]}
    vectors = {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0}
    return [group for group in (matrices, vectors) if group["params"]]
