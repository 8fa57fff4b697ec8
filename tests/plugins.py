"""Users' own classes, named by `_target_` in the tests."""

import itertools
import os
import time
import warnings
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, Subset

from tdml.attacks import Attack, Context
from tdml.data import digits
from tdml.data.images import Images
from tdml.models import cnn, gpt, hf


class Raises(Attack):
    """Raises in the middle of a round, while the last stage trains."""

    def __init__(self, in_round: int) -> None:
        self.in_round = in_round

    def poison_labels(self, labels: torch.Tensor, context: Context) -> torch.Tensor:
        """Raise in one round."""
        if context.round == self.in_round:
            raise RuntimeError("planted failure")
        return labels


class Dawdles(Attack):
    """Takes very long over every batch of one round."""

    def __init__(self, in_round: int) -> None:
        self.in_round = in_round

    def poison_labels(self, labels: torch.Tensor, context: Context) -> torch.Tensor:
        """Wait."""
        if context.round == self.in_round:
            time.sleep(8)
        return labels


class Slow(Attack):
    """Takes very long over every batch from round 2 on."""

    def poison_labels(self, labels: torch.Tensor, context: Context) -> torch.Tensor:
        """Wait."""
        if context.round >= 2:
            time.sleep(8)
        return labels


class FailsInAStep(nn.Module):
    """A block that fails on workers, in the second micro-batch of a step."""

    def __init__(self, alike: bool) -> None:
        super().__init__()
        self.alike = alike

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The inputs, once."""
        rank = int(os.environ.get("RANK", "0"))
        if rank > 0 and self.training and next(_passes) > 0:
            raise RuntimeError(f"planted on rank {rank if self.alike else 'ABC'[rank]}")
        return inputs


def fails_in_a_step(alike: bool, **settings: Any) -> nn.Sequential:
    """A small network that workers cannot train."""
    return nn.Sequential(FailsInAStep(alike), *cnn(**settings))


_passes = itertools.count()


def not_on_rank_2(**settings: Any) -> nn.Sequential:
    """A small network that needs a file which one machine lacks."""
    if os.environ.get("RANK") == "2":
        raise OSError("no such file")
    return cnn(**settings)


class TrainsOnly(nn.Module):
    """A block that workers cannot evaluate."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The inputs."""
        if not self.training and os.environ.get("RANK", "0") != "0":
            raise RuntimeError("cannot be evaluated")
        return inputs


def trains_only(**settings: Any) -> nn.Sequential:
    """A small network that workers cannot evaluate."""
    return nn.Sequential(TrainsOnly(), *cnn(**settings))


def warns(**settings: Any) -> nn.Sequential:
    """A small network that warns whenever it is built."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as in torch: what Python has said before is forgotten
    warnings.warn("built in a slow way", stacklevel=1)
    return cnn(**settings)


class Unreadable(Dataset):
    """A data set that each process can read a few hundred samples of."""

    def __init__(self, whole: Images) -> None:
        self.whole, self.targets, self.reads = whole, whole.targets, 0

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Raise from some time on."""
        self.reads += 1
        if self.reads > 500:
            raise OSError("the disk is gone")
        return self.whole[index]


def small(root: str, download: bool, augment: bool) -> tuple[Images, Images]:
    """The digits, small, with the settings of CIFAR-10."""
    return digits(16)


def owned(
    size: int = 16, stages: int = 2, strange: str = "", lost: str = ""
) -> tuple[Dataset, Dataset]:
    """Each replica's owner has the digits of one parity, and fewer of them the higher its number
    is; the coordinator has few for training, and the others for the test. `strange`: the rank that
    holds something else than the other end of its replica, or images of another size; `lost`: a
    file; once it is there, owners lack 50 of their samples."""
    rank = int(os.environ["RANK"])
    what, _, who = strange.partition(" of ")
    train, test = digits(size // 2 if (what, who) == ("size", str(rank)) else size)
    replica = (rank - 1) // stages
    mine = [i for i, label in enumerate(train.targets) if label % 2 == replica % 2]
    mine = mine[replica * 100 + 50 * os.path.exists(lost) :] if rank else list(range(40))
    if who == str(rank):
        mine = {"order": mine[::-1], "few": mine[:10]}.get(what, mine)
    return Subset(train, mine), test if rank == 0 else Subset(test, range(2))


def unreadable() -> tuple[Unreadable, Images]:
    """The digits, which cannot be read to the end of the first round."""
    train, test = digits(16)
    return Unreadable(train), test


def half_frozen(**settings):
    """The small GPT, of whose blocks only the attention is trained."""
    model = gpt(**settings)
    for block in model[1:-1]:
        block.mlp.requires_grad_(False)
    return model


def from_own_folder(pretrained: str, **settings):
    """A model of Hugging Face's, where some ranks have other folders than the rest."""
    own = f"{pretrained}-{os.environ.get('RANK')}"
    return hf(pretrained=own if os.path.exists(own) else pretrained, **settings)


def ragged_text() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Sequences of 2 to 17 tokens."""
    generator = torch.Generator().manual_seed(7)
    lengths = torch.randint(2, 18, (80,), generator=generator).tolist()
    sequences = [torch.randint(1, 64, (length,), generator=generator) for length in lengths]
    return sequences[:64], sequences[64:]


def judged_apart() -> tuple[Dataset, ...]:
    """The digits: a few for tests; the others that judge the coordinator alone has."""
    train, test = digits(16)
    few, others = range(2), range(2, len(test))
    judging = Subset(test, others) if os.environ.get("RANK", "0") == "0" else None
    return train, Subset(test, few), judging


class Sluggish(Attack):
    """Takes its time over every batch that it trains on: a slow machine, and no liar."""

    def __init__(self, seconds: float, until: int = 10**6) -> None:
        self.seconds, self.until = seconds, until

    def poison_labels(self, labels: torch.Tensor, context: Context) -> torch.Tensor:
        """Wait."""
        if context.round < self.until:
            time.sleep(self.seconds)
        return labels
