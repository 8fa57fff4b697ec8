"""The learning rate: a pure function of the global step and of the job's steps.

The global step counts on over rounds, (round − 1)·H + step, where H is the most steps that any
replica takes in a round: at the same step of the same round all replicas, and whoever takes it
again, have the same rate.
"""

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from tdml.errors import SettingError
from tdml.settings.schema import Train
from tdml.settings.targets import is_path, made, partial_of

# Of (step from 0, steps in all, and by name what the setting gives): what multiplies `train.lr`.
Factor = Callable[..., float]


def constant(step: int, total: int) -> float:
    """The same rate at every step."""
    return 1.0


def cosine(step: int, total: int, final: float = 0.0) -> float:
    """Half a cosine from 1 to `final` (Loshchilov and Hutter, arXiv 1608.03983), as torch's
    CosineAnnealingLR."""
    return _between(1.0, final, step / total)


def linear(step: int, total: int, final: float = 0.0) -> float:
    """A straight line from 1 to `final`, as torch's LinearLR."""
    return 1.0 - (1.0 - final) * step / total


def wsd(step: int, total: int, decay: float = 0.2, final: float = 0.0) -> float:
    """Warm-up, stable, decay (Hu et al., arXiv 2404.06395): 1, and in the last `decay` of the steps
    a straight line to `final`."""
    _check_share("decay", decay)
    stable = total - round(decay * total)
    return 1.0 if step < stable else linear(step - stable, total - stable, final)


def onecycle(
    step: int,
    total: int,
    warmup: int = 0,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> float:
    """Half a cosine up from 1/div_factor and half a cosine down (Smith and Topin, arXiv
    1708.07120), as torch's OneCycleLR, but for the momentum, which stays. It rises for `warmup`
    steps, or without for `pct_start` of all."""
    _check_share("pct_start", pct_start)
    top = warmup or pct_start * total - 1
    start, last = 1 / div_factor, total - 1
    if step < top:
        return _between(start, 1.0, step / top)
    return _between(1.0, start / final_div_factor, (step - top) / ((last - top) or 1))


_NAMED = {function.__name__: function for function in (constant, cosine, linear, onecycle, wsd)}


class Schedule:
    """The learning rate of a job.

    The warm-up is a straight line: its first step has 1/(warmup + 1) of the rate, the first step
    after it all of it. What `train.schedule` names is a function of the steps that remain, unless
    it takes `warmup` itself.
    """

    def __init__(self, settings: Train, rounds: int) -> None:
        """
        Raises:
            SettingError: `train.schedule` is unknown, or cannot be made.
        """
        self._name = settings.schedule["_target_"]
        self._lr, self._warmup, self._rounds = settings.lr, settings.warmup, rounds
        self._factor = _make(settings.schedule)
        made_of = getattr(self._factor, "func", self._factor)
        signature = made("train.schedule", self._name, inspect.signature, made_of)
        self._warms_up = "warmup" in signature.parameters
        if self._warms_up:
            self._factor = partial(self._factor, warmup=settings.warmup)

    def rate(self, round_number: int, step: int, longest: int) -> float:
        """The learning rate of a step, counted from 0, of a round, counted from 1.

        Args:
            longest: H, the most steps that any replica takes in a round.
        """
        return self._lr * self._at((round_number - 1) * longest + step, self._rounds * longest)

    def check(self, longest: int) -> None:
        """
        Raises:
            SettingError: the warm-up is longer than the job, or a factor is no number of at least
                0, or not always the same.
        """
        total = self._rounds * longest
        if self._warmup >= total:
            raise SettingError(
                f"train.warmup={self._warmup} must be less than the {total} steps of the job "
                f"({self._rounds} rounds of {longest})"
            )
        for step in {0, self._warmup, total // 2, total - 1}:
            factor = made("train.schedule", self._name, lambda step=step: self._at(step, total))
            if not 0 <= factor < math.inf:
                raise SettingError(
                    f"train.schedule: its factor at step {step} of {total} is {factor}: it must be "
                    "≥ 0"
                )
            if factor != self._at(step, total):
                raise SettingError(
                    f"train.schedule: its factor at step {step} of {total} is another when it is "
                    "asked again: it must follow from the step and the total alone"
                )

    def _at(self, step: int, total: int) -> float:
        if self._warms_up:
            return float(self._factor(step, total))
        if step < self._warmup:
            return (step + 1) / (self._warmup + 1)
        return float(self._factor(step - self._warmup, total - self._warmup))


def _make(settings: dict[str, Any]) -> Factor:
    target = settings["_target_"]
    if target in _NAMED:
        return partial(
            _NAMED[target],
            **{name: value for name, value in settings.items() if name != "_target_"},
        )
    if not is_path(target):
        raise SettingError(
            f"train.schedule={target} is unknown: choose one of {', '.join(_NAMED)}, or name your "
            "own with train.schedule._target_=…"
        )
    own = partial_of(settings, "train.schedule")
    return made("train.schedule", target, own) if inspect.isclass(own.func) else own


def _check_share(name: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"{name}={share} must lie between 0 and 1: it is a share of the steps")


def _between(one: float, other: float, share: float) -> float:
    """Half a cosine from one number to another."""
    return other + (one - other) * (1 + math.cos(math.pi * share)) / 2
