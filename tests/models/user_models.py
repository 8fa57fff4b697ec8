"""A user's own model for several files of tests."""

import torch
from torch import nn


def shares_a_table():
    """A table that no state dict has, of two blocks."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    for block in (model[0], model[2]):
        block.register_buffer(
            "table", model[0].table if block is model[2] else torch.ones(2), persistent=False
        )
    return model
