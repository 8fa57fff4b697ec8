"""The losses of cross-checks, made up."""

import math

import torch

from tdml.trust.exam import Exam


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def make_exam(
    replicas=6, own=64, held_out=64, classes=4, gains=0.0, level=0.5, noise=0.3, seed=0, common=0.5, label_of_owner=None
):
    """Losses of candidates that are `gains` (log) lower on the own samples, with noise alike on all others.

    `common` is what makes samples easy or hard for all candidates alike.
    """
    generator = seeded(seed)
    owners = torch.cat([torch.arange(replicas).repeat_interleave(own), torch.full((held_out,), -1)])
    labels = torch.arange(len(owners)) % classes
    gains = torch.as_tensor(gains).expand(replicas).double()
    hardness = common * torch.randn(len(owners), generator=generator).double()
    logs = math.log(level) + hardness + noise * torch.randn(replicas, len(owners), generator=generator).double()
    for i in range(replicas):
        logs[i, owners == i] -= gains[i]
    return Exam(torch.exp(hardness + 0.3), torch.exp(logs), labels, owners)
