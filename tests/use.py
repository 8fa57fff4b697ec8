"""What a process holds: memory, files, threads, processes."""

import ctypes
import gc
import os
from dataclasses import dataclass
from pathlib import Path

from tests.jobs import descendants


@dataclass(frozen=True)
class Use:
    """What this process holds."""

    memory: int  # KiB that are its own
    files: int
    threads: int
    processes: int

    @classmethod
    def now(cls) -> "Use":
        """Without what the collector and the allocator have only not given back yet: that goes up
        and down by tens of MiB."""
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        lines = Path("/proc/self/status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines)
        return cls(
            int(status["RssAnon"].split()[0]),
            len(os.listdir("/proc/self/fd")),
            int(status["Threads"]),
            len(descendants(os.getpid())),
        )
