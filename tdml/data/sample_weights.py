"""What each training sample counts in the loss, where whoever runs the job says so."""

from pathlib import Path

import numpy as np
import torch

from tdml.data.origin import origin_of
from tdml.data.sample import MapStyle
from tdml.errors import SettingError, refusing


def read_sample_weights(path: str, dataset: MapStyle) -> torch.Tensor:
    """The weights of a file that numpy's `save` has written: (samples,) float32.

    Args:
        dataset: the training samples. Where they are some rows of the user's file, the weights are
            of all of its rows, in their order there.

    Raises:
        SettingError: it is no such file, or holds something else than one finite number from 0 for
            each sample, or nothing above 0.
    """
    origin = origin_of(dataset)
    count = len(dataset) if origin is None else origin.count
    counted = "training samples" if origin is None else "rows in data.path"
    given = f"data.weights={path}"
    if not Path(path).is_file():
        raise SettingError(
            f"{given} is no file: give one of numpy's (.npy), with a number for each training "
            "sample, or a list with one for each class"
        )
    with refusing(f"{given} cannot be read as .npy"):
        array = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise SettingError(f"{given} holds no numbers: give one array of them (numpy.save)")
    if array.shape != (count,):
        held_out = "" if origin is None else ", those that are held out among them"
        raise SettingError(
            f"{given} has the shape {array.shape}, and there are {count} {counted}: give one "
            f"number for each{held_out}"
        )
    with np.errstate(over="ignore"):
        weights = array.astype(np.float32)
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        place = f"sample {wrong[0]}" if origin is None else origin.named(wrong[0])
        raise SettingError(
            f"{given}: the weight of {place} is {array[wrong[0]]}: give finite numbers from 0"
        )
    if origin is not None:
        weights = weights[origin.rows]
    if not weights.any():
        raise SettingError(f"{given}: all weights are 0, so nothing would be learnt")
    return torch.from_numpy(weights)
