"""Seeds: everything random in a job is a pure function of the job's seed and of what it is for."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive(*parts: int | str) -> int:
    """A seed in [0, 2^63) for a purpose, such as ``derive(job_seed, "order", replica, epoch)``.

    Different parts give independent seeds; the value depends on nothing else (not on
    PYTHONHASHSEED, the platform or the torch version).
    """
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextmanager
def seeded(seed: int, host_only: bool = False) -> Iterator[None]:
    """Seed every generator that a user's code may draw from without being handed one, and put them
    back afterwards.

    They are Python's `random`, numpy's legacy generator, and torch's: on the host, and unless
    `host_only` on the GPUs that are in use, which takes 2 ms.
    """
    python, legacy = random.getstate(), np.random.get_state()
    gpus = range(torch.cuda.device_count()) if not host_only and torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=gpus):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        # Not torch.manual_seed, which keeps a stack trace of every call for the time when CUDA
        # starts.
        torch.default_generator.manual_seed(seed)
        if gpus:
            torch.cuda.manual_seed_all(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)
