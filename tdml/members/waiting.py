"""Which nodes the coordinator waits for, in words."""

import time
from collections.abc import Collection, Iterable

from tdml.wire.exchange import Peer

LONG_S = 5.0  # shorter waits are nothing to tell
_MOST_NAMES = 8


def waiting_for(nodes: Iterable[Peer]) -> str:
    """The nodes whose answer has been missing for long, and for how long; "" for none."""
    now = time.monotonic()
    waits = {
        node.name: now - min(since)
        for node in nodes
        if not node.dead and (since := list(node.awaited.values()))
    }
    long = {name: seconds for name, seconds in waits.items() if seconds > LONG_S}
    return f"waiting for {listed(long)} ({max(long.values()):.0f} s)" if long else ""


def listed(names: Collection[str]) -> str:
    """Names, but not hundreds of them."""
    more = len(names) - _MOST_NAMES
    return ", ".join([*names][:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
