"""Data: sources, the partition over replicas, and the seeded order of samples.

A source is any callable (`data._target_`) that returns a training and a test dataset, and it may be
a third for validation: map-style, with `len()` and items of which the task makes batches, such as
`(tensor, class)` or token ids.
"""

from tdml.data.cifar10 import cifar10
from tdml.data.digits import digits
from tdml.data.hf_folder import hf
from tdml.data.table import csv
from tdml.data.text import text
from tdml.data.tokens import tokens

__all__ = ["cifar10", "csv", "digits", "hf", "text", "tokens"]
