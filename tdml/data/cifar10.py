"""CIFAR-10, as torchvision reads it."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tdml.common.vision import torchvision
from tdml.data.images import Images
from tdml.errors import refusing

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

_MEAN, _STD = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]


def cifar10(root: str, download: bool, augment: bool) -> tuple[Images, Images]:
    """50000 training and 10000 test images, 3 × 32 × 32, with crop and flip in training if
    `augment`.

    Raises:
        SettingError: `root` does not hold the data, and `download` is off or failed.
    """
    dataset = torchvision().datasets.CIFAR10
    remedy = "point it at the folder that contains cifar-10-batches-py, or set data.download=true"
    missing = f"data.root={root} ({Path(root).resolve()}) does not hold CIFAR-10: {remedy}"
    with refusing(missing, (RuntimeError, OSError)):
        train, test = (dataset(root, train=part, download=download) for part in (True, False))

    def images(part: "CIFAR10", augmented: bool) -> Images:
        pixels = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()
        return Images(pixels, part.targets, _MEAN, _STD, augmented)

    return images(train, augment), images(test, False)
