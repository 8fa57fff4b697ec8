"""The images' health check: does this container's rank live?

The kernel is asked, for it cannot hang with the rank. A rank is a process that torchrun gave a
RANK, or `tdml join`, and it lives if one of its threads has run within the last seconds. That is so
of every rank that works, and of one that only waits, which looks around every five seconds. It is
not so of one that was killed or stopped, or all of whose threads wait for each other. Whether what
it does is of use to the round, the coordinator judges (`sync.timeout`, `sync.deadline`).

Needs nothing but Python. Exit status 0: all ranks here live; 1: none is here, or one does not.
"""

import sys
import time
from pathlib import Path

_WINDOW_S = 10.0
_POLL_S = 0.1


def main() -> int:
    """Say of every rank whether it lives; the exit status."""
    found = ranks()
    living = [lives(pid) for pid in found]
    for (pid, rank), alive in zip(found.items(), living, strict=True):
        print(
            f"rank {rank}, process {pid}:",
            "lives" if alive else f"has not run for {_WINDOW_S:.0f} s",
        )
    if not found:
        print("no rank is running here")
    return 0 if found and all(living) else 1


def ranks() -> dict[int, str]:
    """The ranks' processes and numbers; what a rank has started itself counts as part of it."""
    numbers = {
        int(entry.name): _rank(entry) for entry in Path("/proc").iterdir() if entry.name.isdecimal()
    }
    return {pid: rank for pid, rank in numbers.items() if rank and not numbers.get(_parent(pid))}


def lives(pid: int) -> bool:
    """Whether one of a process's threads runs within the window. Waits no longer than it takes to
    see that."""
    before, deadline = _runs(pid), time.monotonic() + _WINDOW_S
    while time.monotonic() < deadline:
        time.sleep(_POLL_S)
        if _runs(pid) > before:
            return True
    return False


def _rank(entry: Path) -> str:
    try:
        variables = (entry / "environ").read_bytes().split(b"\0")
        words = (entry / "cmdline").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is another user's
        return ""
    if any(word.endswith(b"/tdml") for word in words[:2]) and b"join" in words[:3]:
        return "of its own"
    return next((text[5:].decode() for text in variables if text.startswith(b"RANK=")), "")


def _parent(pid: int) -> int:
    try:
        return int(_field(f"/proc/{pid}/status", "PPid"))
    except OSError:
        return 0


def _runs(pid: int) -> int:
    """How often the threads of a process were given a processor, all together."""
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*/status"):
        try:
            total += int(_field(task, "voluntary_ctxt_switches")) + int(
                _field(task, "nonvoluntary_ctxt_switches")
            )
        except OSError:  # a thread that has ended
            continue
    return total


def _field(status: str | Path, name: str) -> str:
    lines = Path(status).read_text(encoding="utf-8", errors="replace").splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    sys.exit(main())
