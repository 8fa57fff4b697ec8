"""Who was let in to a session and did not come: it is not waited for at every border between
rounds."""

from collections import Counter
from collections.abc import Collection

_STRANGERS = ""  # all keys that have never come, in the place of one: keys cost nothing

# as a power of two, of borders: honest newcomers must wait as long
_MOST_FOR_STRANGERS = 3


class Absences:
    """Keys that are left out for twice as many borders as the last time, from one on. Whoever comes
    is forgiven one time."""

    def __init__(self) -> None:
        self._border = 0
        self._known: set[str] = set()  # keys that have come to some session
        self._missed: Counter[str] = Counter()  # sessions, by key
        self._until: dict[str, int] = {}  # the border from which on it may come

    def note(self, came: Collection[str], absent: Collection[str]) -> None:
        """Who came to the session that was just formed, and who did not."""
        for key in {self._counted_as(key) for key in came}:
            self._missed[key] = max(0, self._missed[key] - 1)
        self._known |= {*came}
        for key in {self._counted_as(key) for key in absent}:
            most = _MOST_FOR_STRANGERS if key == _STRANGERS else self._missed[key]
            self._until[key] = self._border + 1 + 2 ** min(self._missed[key], most)
            self._missed[key] += 1

    def pass_border(self) -> bool:
        """Another border is there. Returns whether somebody may come in again since."""
        self._border += 1
        return self._border in self._until.values()

    def is_out(self, key: str) -> bool:
        """Whether it is left out at this border."""
        return self._until.get(self._counted_as(key), 0) > self._border

    def _counted_as(self, key: str) -> str:
        return key if key in self._known else _STRANGERS
