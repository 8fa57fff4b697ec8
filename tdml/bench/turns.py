"""One contender's turn: its seconds and its memory, on a processor or on a GPU."""

import ctypes
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch


@dataclass
class Timing:
    """What one contender took for a matrix."""

    name: str
    seconds: list[float] = field(default_factory=list)  # of each turn, for the whole matrix
    share: float = 1.0  # of the coordinates that it was given; `seconds` are scaled up
    # most memory in its first turn beyond what there was; None: unknown
    extra_bytes: int | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def take_turn(timing: Timing, contender: Callable[[], object], device: str = "cpu") -> None:
    """Run a contender; add the seconds to its timing and, of its first turn, the memory: the GPU's
    on "cuda"."""
    before = None if timing.seconds else _reset_peak(device)
    _wait_for(device)
    start = time.perf_counter()
    contender()
    _wait_for(device)
    timing.seconds.append((time.perf_counter() - start) / timing.share)
    if before is not None:
        timing.extra_bytes = max(0, _peak(device) - before)


def _wait_for(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _reset_peak(device: str) -> int | None:
    """Forget the peak of memory; the bytes that are held now, or None where that is not to be
    had."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    try:
        # Freed memory that the C library still holds would hide what is allocated next.
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return None
    return meminfo("/proc/self/status", "VmRSS")


def _peak(device: str) -> int:
    """The most bytes held since then."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return meminfo("/proc/self/status", "VmHWM") or 0


def meminfo(path: str, key: str) -> int | None:
    """The bytes of one line of a file as /proc/meminfo."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), None)
