"""Files of token ids, of which only what is asked for is read."""

from pathlib import Path

import numpy as np

from tdml.data.text import Sequences, check_enough
from tdml.errors import SettingError, refusing

_NPY = b"\x93NUMPY"  # the first bytes of what numpy's save writes
_KINDS = {"uint16": np.uint16, "uint32": np.uint32}
_PLACES = _PAIRS = 64  # all over a file; of numbers, at each of them


def tokens(
    path: str | None,
    test: str | None,
    dtype: str,
    vocabulary: int | None,
    context: int,
    held_out: float,
) -> tuple[Sequences, Sequences]:
    """Training and test sequences of plain little-endian numbers, as many tools write them
    (`np.array(ids, dtype=np.uint16).tofile(path)`).

    They are mapped into memory, so that neither start nor memory grow with the files.

    Args:
        test: a second file; None: the last share `held_out` of the first.
        dtype: uint16 or uint32.
        vocabulary: ids are below this, None: whatever the model takes.

    Raises:
        SettingError: a file is missing, or has too little.
    """
    ids = _map(path, dtype, "data.path")
    cut = len(ids) if test else round((1 - held_out) * len(ids))
    held = _map(test, dtype, "data.test") if test else ids[cut:]
    train, last = Sequences(ids[:cut], context, vocabulary), Sequences(held, context, vocabulary)
    check_enough(train, last, context)
    return train, last


def _map(path: str | None, dtype: str, setting: str) -> np.ndarray:
    kind = np.dtype(_KINDS[dtype]).newbyteorder("<")
    if path is None or not Path(path).is_file():
        raise SettingError(
            f"{setting}={path} is no file: give one of token ids, {dtype} without a header"
        )
    size = Path(path).stat().st_size
    if size == 0 or size % kind.itemsize:
        raise SettingError(
            f"{setting}={path} has {size} bytes, which are no {dtype} numbers: see data.dtype"
        )
    with refusing(f"{setting}={path} cannot be read"):
        with open(path, "rb") as file:
            begins = file.read(len(_NPY))
        if begins == _NPY:  # whose header would be read as tokens
            raise SettingError(
                f"{setting}={path} is numpy's .npy, which has a header: write it without one, by "
                f"np.load(path).astype(np.{dtype}).tofile(…)"
            )
        ids = np.memmap(path, dtype=kind, mode="r")
    if (most := _of_upper_halves(ids)) is not None:
        instead = (
            "write ids that are so themselves as uint32"
            if most
            else f"write it by np.array(ids).astype(np.{dtype}).tofile(…), for numpy makes numbers "
            "of 64 bits of a list"
        )
        raise SettingError(
            f"{setting}={path}: every second number is {'at most ' * (most > 0)}{most}, as where "
            f"wider ones are read as {dtype}: see data.dtype, or {instead}"
        )
    return ids


def _of_upper_halves(ids: np.ndarray) -> int | None:
    """What every second number is at most, where they are as far below the others as the upper
    halves of a vocabulary's ids; and of the others many are no 0: of a list numpy makes numbers of
    64 bits, of which every fourth of 16 is not. None where they are ids themselves; the upper 32 of
    64 bits of any id are 0."""
    pairs = ids[: len(ids) // 2 * 2].reshape(-1, 2)
    width = min(len(pairs), _PAIRS)
    starts = np.linspace(0, len(pairs) - width, _PLACES, dtype=np.int64)
    lower, upper = np.concatenate([pairs[start : start + width] for start in starts]).T
    most = int(upper.max(initial=0))
    far = 256 * most <= int(lower.max(initial=0)) and not (most and ids.itemsize > 2)
    return most if far and int(np.count_nonzero(lower)) > len(lower) / 8 else None
