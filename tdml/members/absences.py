"""Members that were let in to a session and did not come. So that nobody waits for them again and
again, they are left out of new sessions, each time for twice as long."""

from collections import Counter
from collections.abc import Collection

# stands for all keys that have never come, which count as one: anybody can make any number of keys
_STRANGERS = ""

# strangers are left out for at most 2 to this power borders: honest newcomers have to wait as long
_MOST_FOR_STRANGERS = 3


class Absences:
    """Which keys are left out, and until when, counted in borders between rounds. A key that misses
    a session, and has missed n before, is left out for 2ⁿ borders; n falls by one with each session
    that it comes to."""

    def __init__(self) -> None:
        self._border = 0
        self._known: set[str] = set()  # keys that have come to some session
        self._missed: Counter[str] = Counter()  # sessions, by key
        self._until: dict[str, int] = {}  # the border from which on it may come

    def note(self, came: Collection[str], absent: Collection[str]) -> None:
        """Note who came to the session that was just formed, and who did not."""
        for key in {self._counted_as(key) for key in came}:
            self._missed[key] = max(0, self._missed[key] - 1)
        self._known |= {*came}
        for key in {self._counted_as(key) for key in absent}:
            most = _MOST_FOR_STRANGERS if key == _STRANGERS else self._missed[key]
            self._until[key] = self._border + 1 + 2 ** min(self._missed[key], most)
            self._missed[key] += 1

    def pass_border(self) -> bool:
        """Count another border. Returns whether somebody may come again from here on."""
        self._border += 1
        return self._border in self._until.values()

    def is_out(self, key: str) -> bool:
        """Whether a key is left out at this border."""
        return self._until.get(self._counted_as(key), 0) > self._border

    def _counted_as(self, key: str) -> str:
        return key if key in self._known else _STRANGERS
