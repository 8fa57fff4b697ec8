"""What single settings may be: numbers within bounds, and choices."""

import sys
from typing import TYPE_CHECKING, Any

from tdml.errors import SettingError
from tdml.rewards.policies import POLICIES

if TYPE_CHECKING:
    from tdml.settings.schema import Config

# beyond, a job would fill this machine, or torch not count so far, before anything says so
_MOST = 10**6

_AT_LEAST_1 = (
    "rounds", "topology.replicas", "topology.min_replicas", "topology.max_replicas",
    "topology.stages", "topology.microbatches", "topology.chunks", "sync.local_steps",
    "sync.timeout", "trust.audit_windows", "train.batch_size", "train.accumulate",
    "train.patience", "attack.from_round",
)  # fmt: skip
_AT_LEAST_0 = (
    "seed", "topology.spares", "sync.outer_momentum", "sync.patience", "gather.memory",
    "checkpoint.memory", "trust.audit_memory", "trust.budget", "rewards.pool", "rewards.stake",
    "train.lr", "train.momentum", "train.weight_decay", "train.warmup", "train.label_smoothing",
)  # fmt: skip
_ABOVE_0 = (
    "sync.outer_lr", "sync.deadline", "train.clip_norm", "data.alpha", "attack.share_of_rounds",
)  # fmt: skip
_BELOW_1 = ("sync.outer_momentum", "train.momentum", "train.label_smoothing")
_AT_MOST = {
    "sync.local_steps": _MOST, "sync.timeout": _MOST, "trust.budget": 1,
    "attack.share_of_rounds": 1,
}  # fmt: skip
_CHOICES = {
    "topology.schedule": ("gpipe", "1f1b", "interleaved_1f1b"),
    "sync.outer": ("fedavg", "nesterov"),
    "sync.inner_state": ("fresh", "kept"),
    "trust.repeatable": ("require", "warn"),
    "trust.rollback": ("auto", "off"),
    "rewards.policy": tuple(POLICIES),
    "train.precision": ("fp32", "bf16"),
    "device": ("auto", "cpu", "cuda"),
    "data.partition": ("iid", "dirichlet", "contiguous", "own"),
}


def check_bounds(config: "Config") -> None:
    """Raises SettingError: a setting that is given is beyond its bounds, or none of its choices."""
    for name in (*_AT_LEAST_1, *_AT_LEAST_0, *_ABOVE_0):
        _check_number(name, _value(config, name))
    for name, choices in _CHOICES.items():
        if (choice := _value(config, name, choices[0])) not in choices:
            raise SettingError(f"{name}={choice} is unknown: choose one of {', '.join(choices)}")


def _check_number(name: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingError(f"{name}={value} is not a number")
    least, most = int(name in _AT_LEAST_1), _AT_MOST.get(name, sys.float_info.max)
    above, below = name in _ABOVE_0, name in _BELOW_1
    if (
        not least <= value <= most  # nor is a whole number finite that no float holds
        or (above and value == 0)
        or (below and value >= 1)
    ):
        lower = "above 0" if above else f"of at least {least}"
        upper = f" and at most {most}" if name in _AT_MOST else " and below 1" if below else ""
        raise SettingError(f"{name}={value} must be a finite number {lower}{upper}")


def _value(config: "Config", name: str, default: Any = None) -> Any:
    """`default` where a group that is open has no such setting."""
    group, _, key = name.partition(".")
    value = getattr(config, group)
    if not key:
        return value
    return value.get(key, default) if isinstance(value, dict) else getattr(value, key)
