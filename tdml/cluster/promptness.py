"""How long nodes take for orders that they carry out at once, such as to reveal a block: each is
answered in time, and a model has thousands of them."""

import statistics
import threading
from collections import Counter, defaultdict, deque

_FACTOR = 30.0  # honest links may be so much slower than others'
_KEPT = 16  # answers of a node to orders of one kind
_ENOUGH = 3  # nodes from whose times a limit follows
_ROUNDS = 2  # in a row, after which it is time to part


class Promptness:
    """Of a fleet. In a round a node may take thirty times as long as is usual, and `slack` seconds
    more, for all such orders together. What is usual is the median of the nodes, each with the
    median of its own answers: however many orders one of them is given, it has one voice."""

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
        """A node took so long for an order. Why not to ask it any more in this round, or None."""
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
        """The nodes that were too slow in two rounds in a row, those without orders left out.

        Who had none while others had has no voice any more: keys cost nothing, and those that have
        gone could outvote all who are there."""
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
