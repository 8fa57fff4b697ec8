"""Which training samples each replica owns, where whoever runs the job says so."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tdml.common.digest import digests
from tdml.common.merkle import root
from tdml.common.seeds import derive, seeded
from tdml.data.origin import Origin, origin_of
from tdml.data.sample import MapStyle
from tdml.errors import SettingError, refusing
from tdml.settings.targets import made, partial_of

_FORM = "a list for each replica, of the numbers of its training samples, or rows"


def given_shares(
    given: str | Mapping[str, Any], dataset: MapStyle, replicas: int, least: int, seed: int
) -> list[np.ndarray]:
    """The shares that `data.shares` gives. A sample may be in none of them.

    Args:
        given: the path of a JSON file; or a `_target_` with its own arguments, a function
            (dataset, replicas) → shares, which draws from the global generators.
        dataset: the training samples. Where they are some rows of the user's file, a JSON file has
            the numbers of rows, of which those that are held out are in no share.
        least: samples that each replica needs, those of one optimizer step.
        seed: of the job.

    Returns one sorted int64 array of sample numbers per replica.

    Raises:
        SettingError: they cannot be had, or cannot be what each replica trains on.
    """
    origin = None
    if isinstance(given, Mapping):
        make = partial_of(given, "data.shares")
        with seeded(derive(seed, "shares")):
            raw = made("data.shares", given["_target_"], lambda: _dealt(make(dataset, replicas)))
    else:
        raw, origin = _read(Path(given)), origin_of(dataset)
    shares = _arrays(raw)
    if len(shares) != replicas:
        raise SettingError(
            f"data.shares gives {len(shares)} shares, and there are {replicas} replicas: give one "
            "for each, or change topology.replicas"
        )
    if origin is None:
        _check_samples(shares, len(dataset), "training sample")
    else:
        _check_samples(shares, origin.count, "row")
        shares = _of_training(shares, origin)
    for replica, share in enumerate(shares):
        if len(share) < least:
            raise SettingError(
                f"data.shares: the {len(share)} samples of replica {replica} are too few for an "
                f"optimizer step on {least}: give it more, or lower train.batch_size or "
                "train.accumulate"
            )
    return [np.sort(share) for share in shares]


def _dealt(raw: Any) -> Any:
    """All of what a generator gives while it is seeded."""
    return list(raw) if isinstance(raw, Iterator) else raw


def digest_of(shares: Sequence[np.ndarray]) -> str:
    """Of which samples each replica owns: a Merkle root over their digests."""
    return root([found.hex() for found in digests([*map(torch.from_numpy, shares)])])


def _read(path: Path) -> Any:
    if not path.is_file():
        raise SettingError(
            f"data.shares={path} is no file: give one of JSON, {_FORM}, or {{_target_: …}}"
        )
    with refusing(f"data.shares={path} cannot be read as JSON"):
        return json.loads(path.read_text(encoding="utf-8-sig"))


def _arrays(raw: Any) -> list[np.ndarray]:
    """int64, one per replica."""
    if isinstance(raw, Mapping | str) or not isinstance(raw, Iterable):
        raise SettingError(f"data.shares is a {type(raw).__name__}: give {_FORM}")
    return [_array(replica, share) for replica, share in enumerate(raw)]


def _array(replica: int, share: Any) -> np.ndarray:
    try:
        numbers = np.asarray(share)
    except (ValueError, TypeError, RuntimeError):
        numbers = np.array(None)
    if numbers.shape == (0,) and numbers.dtype.kind == "f":
        numbers = numbers.astype(np.int64)  # of nothing numpy makes floats
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise SettingError(
            f"data.shares: share {replica} is no list of whole numbers: give {_FORM}"
        )
    return numbers.astype(np.int64)


def _of_training(shares: Sequence[np.ndarray], origin: Origin) -> list[np.ndarray]:
    """From numbers of rows to those of training samples, without what is held out."""
    samples = np.full(origin.count, -1)
    samples[origin.rows] = np.arange(len(origin.rows))
    return [found[found >= 0] for found in (samples[share] for share in shares)]


def _check_samples(shares: Sequence[np.ndarray], count: int, kind: str) -> None:
    """`kind`: of what there are `count`."""
    every = np.concatenate(shares) if shares else np.empty(0, np.int64)
    if len(outside := every[(every < 0) | (every >= count)]):
        raise SettingError(
            f"data.shares has {outside[0]}, and the {count} {kind}s are 0 to {count - 1}"
        )
    if len(twice := np.flatnonzero(np.bincount(every) > 1)):
        having = [replica for replica, share in enumerate(shares) if twice[0] in share]
        raise SettingError(
            f"data.shares: {kind} {twice[0]} is there more than once, in share "
            f"{' and '.join(map(str, having))}: each can be in one alone, and once"
        )
