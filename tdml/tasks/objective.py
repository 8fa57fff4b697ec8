"""The task of a job, and the loss of a batch that is spread over micro-batches."""

import inspect
from collections.abc import Callable, Iterator, Sequence, Set
from typing import Any

import torch
from torch import nn

from tdml.common.seeds import derive, seeded
from tdml.errors import SettingError
from tdml.settings.schema import Config
from tdml.settings.targets import made, partial_of
from tdml.tasks.base import Task

_FUNCTIONS = ("collate", "losses", "weights", "metrics", "strata")


def task_of(config: Config, training: bool = False) -> Task:
    """What `task` names, with the weights of classes that `data` gives, if these are no file with
    those of samples; in `training` with the job's label smoothing.

    Raises:
        SettingError: it cannot be made, or is no task.
    """
    smoothing = config.train.label_smoothing if training else 0.0
    return make_task(config.task, config.seed, config.data.get("weights"), smoothing)


def make_task(
    settings: dict[str, Any],
    seed: int,
    weights: Sequence[float] | str | None,
    smoothing: float = 0.0,
) -> Task:
    """What the group `task` names; what it draws follows from the job's seed, on every rank alike.
    Raises as `task_of`."""
    target = settings["_target_"]
    make = partial_of(settings, "task")
    more: dict[str, Any] = ({"label_smoothing": smoothing} if smoothing else {}) | (
        {"class_weights": weights} if weights is not None and not isinstance(weights, str) else {}
    )
    for name in more.keys() - _parameters(make.func, more.keys()):
        setting, nothing = (
            ("train.label_smoothing", 0) if name == "label_smoothing" else ("data.weights", "null")
        )
        raise SettingError(
            f"{setting}={more[name]}: task={target} has none: set {setting}={nothing}"
        )
    with seeded(derive(seed, "task"), host_only=True):
        task = made("task", target, make, **more)
    if missing := [name for name in _FUNCTIONS if not callable(getattr(task, name, None))]:
        raise SettingError(
            f"task._target_={target} has no {', '.join(missing)}: a task has the functions "
            f"{', '.join(_FUNCTIONS)} (docs/your-task.md)"
        )
    if held := next(_trained(task), ""):
        raise SettingError(
            f"task: its {held} requires gradients, and nodes train the model's blocks alone: make "
            "it a part of the model, or leave it as it is with requires_grad_(False)"
        )
    return task


def _trained(task: Task) -> Iterator[str]:
    """The names of what a task holds that wants to be trained."""
    for name, value in getattr(task, "__dict__", {}).items():
        if isinstance(value, torch.Tensor) and value.requires_grad:
            yield name
        if isinstance(value, nn.Module):
            yield from (f"{name}.{own}" for own, p in value.named_parameters() if p.requires_grad)
    if isinstance(task, nn.Module):
        yield from (own for own, p in task.named_parameters() if p.requires_grad)


def _parameters(function: Callable, wanted: Set[str]) -> Set[str]:
    """The names of its parameters; all that are wanted, where it takes any or does not say
    which."""
    if not wanted or getattr(function, "__init__", None) is Task.__init__:
        return set()  # what a Protocol has for it says that it takes anything, and takes nothing
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # of some that are written in C
        return wanted
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    return wanted if takes_any else parameters.keys()


def mean_loss(
    task: Task,
    output: torch.Tensor,
    targets: torch.Tensor,
    total: torch.Tensor | None = None,
    own_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Σ wᵢ·lᵢ / total; a task may have a function of its own for it, `batch_mean`, with the first
    three of these arguments, which is asked where samples have no weights of their own.

    Args:
        total: of a micro-batch the sum of the weights in its whole batch, so that what comes of
            all of these adds up to the mean over the batch. None: the sum of the weights given.
        own_weights: (k,) what each sample counts, by which the task's weights are multiplied.
    """
    weights = _weights(task, targets, own_weights)
    total = weights.sum() if total is None else total
    total = total.clamp(min=torch.finfo(torch.float32).tiny)
    own = getattr(task, "batch_mean", None)
    if own and own_weights is None:
        return own(output, targets, total)
    return (task.losses(output, targets) * weights).sum() / total


def sum_of_weights(
    task: Task, targets: torch.Tensor, own_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """The `total` for the micro-batches of a batch."""
    return _weights(task, targets, own_weights).sum()


def _weights(task: Task, targets: torch.Tensor, own: torch.Tensor | None) -> torch.Tensor:
    weights = task.weights(targets)
    return weights if own is None else weights * own.to(weights.device)
