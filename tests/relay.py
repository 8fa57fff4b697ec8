"""A slow and lossy cable between two network namespaces, for machines whose kernel has no netem.

`python -m tests.relay NAMESPACE:DEVICE NAMESPACE:DEVICE DELAY_S LOSS` makes a TAP device in each,
and carries every frame from one to the other that long after it came, but for the share that is
lost. It says "ready" and runs until it is ended.
"""

import contextlib
import ctypes
import fcntl
import heapq
import os
import random
import selectors
import struct
import sys
import time

_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000  # linux/if_tun.h
_CLONE_NEWNET = 0x40000000
_FRAME = 65_536  # bytes at most


def main(first: str, second: str, delay: float, loss: float) -> None:
    """Carry frames both ways."""
    ends = [_open(*place.split(":")) for place in (first, second)]
    other = dict(zip(ends, reversed(ends), strict=True))
    chance = random.Random(0)
    under_way: list[tuple[float, int, int, bytes]] = []  # due, number, to, frame
    number = 0
    selector = selectors.DefaultSelector()
    for end in ends:
        os.set_blocking(end, False)
        selector.register(end, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        for key, _ in selector.select(wait):
            with contextlib.suppress(BlockingIOError):
                while frame := os.read(key.fd, _FRAME):
                    if chance.random() >= loss:
                        due = time.monotonic() + delay
                        heapq.heappush(under_way, (due, number, other[key.fd], frame))
                        number += 1
        while under_way and under_way[0][0] <= time.monotonic():
            _, _, end, frame = heapq.heappop(under_way)
            with contextlib.suppress(OSError):  # the device is down: a cut cable carries nothing
                os.write(end, frame)


def enter(namespace: str) -> None:
    """From now on this thread's network is that of the namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{namespace}") as place:
        if libc.setns(place.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the namespace {namespace}")


def _open(namespace: str, device: str) -> int:
    """A new TAP device in that namespace."""
    enter(namespace)
    end = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TAP | _IFF_NO_PI))
    return end


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
