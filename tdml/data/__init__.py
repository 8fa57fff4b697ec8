"""Data: sources, the partition over replicas, and the seeded order of samples.

A source is any callable (`data._target_`) that returns a training and a test dataset: map-style, with
`len()` and items `(image tensor, int label)`. TDML's own are `digits` and `cifar10`.
"""

from tdml.data.cifar10 import cifar10
from tdml.data.digits import digits

__all__ = ["cifar10", "digits"]
