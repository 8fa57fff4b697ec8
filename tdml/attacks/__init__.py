"""Attacks: one small class each, run on the attacking node, chosen by `attack=` or
`attack._target_=`."""

from tdml.attacks.adaptive import Adaptive
from tdml.attacks.base import Attack, Context, Knowledge, Victim, make_attack
from tdml.attacks.data import Backdoor, LabelFlip
from tdml.attacks.garbage import Garbage
from tdml.attacks.optimised import MinMax, MinSum
from tdml.attacks.stage_backdoor import StageBackdoor
from tdml.attacks.updates import (
    BufferPoison,
    Gaussian,
    HonestNoise,
    InnerProduct,
    MeanShift,
    Mimic,
    Scaled,
    SignFlip,
    SingleLayer,
    ZeroGradient,
)  # fmt: skip
from tdml.attacks.validators import LyingValidator
from tdml.attacks.work import CopyAggregate, HalfWork, Replay, ZeroUpdate

__all__ = [
    "Adaptive",
    "Attack",
    "Backdoor",
    "BufferPoison",
    "Context",
    "CopyAggregate",
    "Garbage",
    "Gaussian",
    "HalfWork",
    "HonestNoise",
    "InnerProduct",
    "Knowledge",
    "LabelFlip",
    "LyingValidator",
    "MeanShift",
    "Mimic",
    "MinMax",
    "MinSum",
    "Replay",
    "Scaled",
    "SignFlip",
    "SingleLayer",
    "StageBackdoor",
    "Victim",
    "ZeroGradient",
    "ZeroUpdate",
    "make_attack",
]
