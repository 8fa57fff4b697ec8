"""Columns in pieces that stay in a core's cache, in several threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")

_MOST_THREADS = 16  # more would wait for the memory


def deal(work: Callable[[int, int], _T], size: int, width: int) -> list[_T]:
    """What `work` makes of columns `start` to `stop`, for all pieces of `width` of `size` columns,
    in their order."""
    spans = [(start, min(size, start + width)) for start in range(0, size, width)]
    threads = min(len(os.sched_getaffinity(0)), _MOST_THREADS, len(spans))
    if threads < 2:
        return [work(*span) for span in spans]
    # Our own, not OpenMP's, which spin and starve others; and more pieces than threads, for a
    # processor that has other work to do gets through fewer of them.
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda span: work(*span), spans))
