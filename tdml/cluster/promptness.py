"""How long nodes take for orders that they carry out at once, such as to reveal a block. Each of
them may be answered in time, and the thousands that a model takes last for ever together."""

import statistics
import threading
from collections import Counter, defaultdict, deque

_FACTOR = 30.0  # an honest link may be so many times slower than others
_KEPT = 16  # answers of a node to orders of one kind
_ENOUGH = 3  # the fewest nodes from whose times a limit follows
_ROUNDS = 2  # in a row, after which a slow node is given up


class Promptness:
    """How promptly the nodes of a fleet answer. For all such orders of a round together a node may
    take thirty times as long as is typical, and `slack` seconds more. Typical is the median over
    the nodes of each node's median: however many orders a node is given, it has one vote."""

    def __init__(self, slack: float) -> None:
        self._slack, self._lock = slack, threading.Lock()
        # by kind of order and node
        self._kept: dict[str, dict[str, deque[float]]] = defaultdict(
            lambda: defaultdict(lambda: deque(maxlen=_KEPT))
        )
        self._excess: dict[str, float] = defaultdict(float)  # seconds of this round, by node
        self._slow: Counter[str] = Counter()  # rounds in a row, by node
        self._heard: set[str] = set()  # nodes, in this round

    def note(self, node: str, method: str, seconds: float) -> str | None:
        """Note how long a node took for an order. Returns why not to ask it any more in this round,
        or None."""
        with self._lock:
            known = self._kept[method]
            known[node].append(seconds)
            self._heard.add(node)
            if len(known) < _ENOUGH:
                return None
            usual = statistics.median(map(statistics.median, known.values()))
            self._excess[node] += seconds - _FACTOR * usual
            if self._excess[node] <= self._slack:
                return None
            return f"late: it answers too slowly ({method}: {usual:.2g} s; see sync.timeout)"

    def end_round(self) -> list[str]:
        """Close a round. Returns the nodes that were too slow in two rounds in a row, not counting
        rounds in which they had no orders.

        A node without orders, while others had some, loses its vote: anybody can have any number of
        keys, and nodes that are gone could outvote those that are there."""
        with self._lock:
            for node, excess in self._excess.items():
                self._slow[node] = self._slow[node] + 1 if excess > self._slack else 0
            again = [node for node in self._excess if self._slow[node] >= _ROUNDS]
            for known in self._kept.values() if len(self._heard) >= _ENOUGH else ():
                for node in known.keys() - self._heard:
                    del known[node]
            self._excess.clear()
            self._heard.clear()
            return again
