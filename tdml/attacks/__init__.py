"""Attacks: one small class each, run on the attacking node, chosen by `attack=` or `attack._target_=`."""

from tdml.attacks.base import Attack, Context, Knowledge, make_attack
from tdml.attacks.labels import LabelFlip
from tdml.attacks.updates import Gaussian, MeanShift, SignFlip, ZeroGradient

__all__ = [
    "Attack",
    "Context",
    "Gaussian",
    "Knowledge",
    "LabelFlip",
    "MeanShift",
    "SignFlip",
    "ZeroGradient",
    "make_attack",
]
