"""What the environment of every process must hold before it starts: how Python hashes texts, that
torch compiles nothing, how the C library deals with memory and with names, and standard streams."""

import os
import platform
import sys

LAUNCHER = "TDML_LAUNCHER"  # names the variable that has the process of `tdml train`

# By its hashes Python decides in which order a set is walked. It draws them at its start, and a
# model that adds up branches in the order of a set would compute something else on every node.
_HASHES = {"PYTHONHASHSEED": "0"}

# What torch.compile made of a model was not the same on every node, though each process repeated
# itself: no honest update counted. So it returns what it is given. Whoever sets this has his way.
_EAGER = {"TORCHDYNAMO_DISABLE": "1"}

# Torch asks for the name of whoever connects to it. A name server that is silent keeps it waiting
# for 10 s each time, and the store, which answers one after the other, for all nodes. Whoever sets
# this has his way.
_NAMES = {"RES_OPTIONS": "timeout:1 attempts:2"}

# Freed memory stays with the process: otherwise every step of training, and every message, has its
# pages from the kernel anew, which costs a tenth of the time. And all threads share it, for what
# RPC's threads free training can use. Whoever sets these has his way.
MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 40),
    "MALLOC_ARENA_MAX": "1",
}
# An older glibc ignores a threshold beyond this one, and then would map every message anew. That
# 2.36 takes any was seen.
_OLD_MEMORY = MEMORY | {"MALLOC_MMAP_THRESHOLD_": str(32 << 20)}
_GLIBC = (2, 36)


def fix_environment() -> None:
    """Start this program anew, in this process, unless its environment is right. To be called
    before anything that takes time."""
    wanted = _memory() | _NAMES | _EAGER | os.environ | _HASHES
    if _open_streams() or wanted != dict(os.environ):
        os.environ.update(wanted)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _open_streams() -> bool:
    """Have what is printed go nowhere, where standard output is closed: Python has no stream for it
    then, and the next file or socket would get its number. So with input and errors. Returns
    whether there was any such."""
    closed = [number for number in range(3) if not _is_open(number)]
    for _ in closed:
        # it gets the lowest number that is free
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    return bool(closed)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _memory() -> dict[str, str]:
    """For this C library; another one than glibc does not know them."""
    name, version = platform.libc_ver()
    old = name == "glibc" and tuple(map(int, version.split(".")[:2])) < _GLIBC
    return _OLD_MEMORY if old else MEMORY
