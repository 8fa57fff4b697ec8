"""A data set of which everything is known."""

import random

import numpy as np
import torch
from torch.utils.data import Dataset


class Points(Dataset):
    """Sample i is (i, i) with label i mod 3, and noise from all three global generators if
    asked."""

    def __init__(self, size, noisy=False):
        self.size, self.noisy = size, noisy

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if not isinstance(index, int) or not 0 <= index < self.size:
            raise AssertionError(f"sample {index} of {self.size} was asked for")
        noise = random.random() + np.random.rand() + torch.rand(2) if self.noisy else torch.zeros(2)
        return torch.full((2,), float(index)) + noise, index % 3
