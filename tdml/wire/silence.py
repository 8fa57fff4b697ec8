"""Networks that are cut for a while.

What gets no answer the kernel sends again, but after ever longer pauses: as long as a cut has
lasted, up to two minutes, it may take until a connection goes on after it. So a connection that is
silent for long is given up, and a new one is tried every few seconds.
"""

import contextlib
import os
import socket
import stat
import struct
import time

_TRY_S = 2.0  # for the kernel's first two attempts to connect: it waits longer for each
_PAUSE_S = 0.5  # between refusals: nobody listens there yet
_PROBES = 4  # in the time after which a silent connection is given up


def reach(host: str, port: int, seconds: float) -> float:
    """Wait until somebody accepts connections there, at most that many seconds. Returns how many of
    them are left."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        with contextlib.suppress(OSError):
            socket.create_connection((host, port), timeout=_TRY_S).close()
            return left
        time.sleep(_PAUSE_S)
    return 0.0


def give_up_silent(port: int, seconds: float) -> None:
    """Have this process's connections to that port fail once nothing has come back for so long,
    neither from the other machine nor, where this waits for an answer, from the process there: it
    may be stopped. For connections of torch's, which has no setting for that."""
    wait = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    probe = max(1, int(seconds / _PROBES))
    for number in filter(_is_socket, map(int, os.listdir("/proc/self/fd"))):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as own:
            if own.getpeername()[1] != port:
                continue
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * seconds))
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wait)
            own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, probe)
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, probe)


def _is_socket(number: int) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    return False
