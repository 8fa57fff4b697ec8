"""Seeds: everything random in a job is a pure function of the job's seed and of what it is for."""

import hashlib


def derive(*parts: int | str) -> int:
    """A seed in [0, 2^63) for a purpose, such as ``derive(job_seed, "order", replica, epoch)``.

    Different parts give independent seeds; the value depends on nothing else (not on
    PYTHONHASHSEED, the platform or the torch version).
    """
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
