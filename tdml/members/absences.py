"""Who was let in to a session and did not come: it is not waited for at every border between
rounds."""

from collections import Counter
from collections.abc import Iterable


class Absences:
    """Keys that are left out for twice as many borders as the last time, from one on."""

    def __init__(self) -> None:
        self._border = 0
        self._missed: Counter[str] = Counter()  # sessions, by key
        self._until: dict[str, int] = {}  # the border from which on it may come

    def note(self, keys: Iterable[str]) -> None:
        """They did not come to the session that was just formed."""
        for key in keys:
            self._until[key] = self._border + 1 + 2 ** self._missed[key]
            self._missed[key] += 1

    def pass_border(self) -> bool:
        """Another border is there. Returns whether somebody may come in again since."""
        self._border += 1
        return self._border in self._until.values()

    @property
    def out(self) -> set[str]:
        """Those that are left out at this border."""
        return {key for key, border in self._until.items() if border > self._border}
