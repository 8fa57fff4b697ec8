"""Handwritten digits that come with scikit-learn: real images, nothing to download."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from tdml.common.seeds import derive
from tdml.data.images import Images

_TRAINING_SHARE = 0.8


def digits(size: int) -> tuple[Images, Images]:
    """1437 training and 360 test images, 3 × size × size: those of `sklearn.datasets.load_digits`.

    The 8×8 grey images are resized bilinearly and repeated over three channels. The split is the
    same in every job.
    """
    pixels, targets = _read()
    grey = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    resized = F.interpolate(grey, size=(size, size), mode="bilinear", align_corners=False)
    images = (resized * 255).round().to(torch.uint8).repeat(1, 3, 1, 1)
    order = torch.randperm(
        len(images), generator=torch.Generator().manual_seed(derive("digits split"))
    )
    cut = int(_TRAINING_SHARE * len(order))
    return _part(images, targets, order[:cut]), _part(images, targets, order[cut:])


def _read() -> tuple[np.ndarray, np.ndarray]:
    # Every rank reads the data. Importing scikit-learn to do so costs each of them two seconds, so
    # the file is read as `load_digits` reads it: 64 pixels and the label per line.
    spec = find_spec("sklearn")
    assert spec is not None and spec.origin is not None
    package = Path(spec.origin).parent
    table = np.loadtxt(package / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    return table[:, :-1], table[:, -1].astype(int)


def _part(images: torch.Tensor, targets: np.ndarray, chosen: torch.Tensor) -> Images:
    return Images(images[chosen], [int(targets[i]) for i in chosen], mean=[0.3] * 3, std=[0.35] * 3)
