"""What a proven liar has put into the weights is taken out again: to where the run goes back.

For every update that counts it is noted, by its nodes' keys, whether others have verified it, and
who: accomplices verify each other. When a node is proven to lie, the run goes back before the first
round that may hold its lies. It need not go back for ever: a lie told in every round would have
been found in a window that chance has chosen.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field

from tdml.round.result import Round
from tdml.trust.numbers import ALPHA, RANDOM_SHARE


@dataclass
class Contributions:
    """What each node, by its public key, has put into the global weights, and how many rounds of
    the run have been taken back so far."""

    # by key, the rounds in which an update of the node counted that nobody had verified
    rounds: dict[str, list[int]] = field(default_factory=dict)
    taken_back: int = 0
    # by key and round, for updates that were verified: the keys of those who repeated them
    vouched: dict[str, dict[int, list[str]]] = field(default_factory=dict)

    def add_unverified(self, number: int, keys: Iterable[str]) -> None:
        """An update of these nodes counts in a round, and was not repeated in full."""
        for key in keys:
            self.rounds.setdefault(key, []).append(number)

    def add_verified(
        self, number: int, keys: Iterable[str], others: Iterable[str], budget: float
    ) -> None:
        """An update of these nodes counts in a round, all of which `others` have repeated."""
        oldest, by = number - rounds_until_caught(budget), sorted({*others})
        for key in keys:
            before = self.vouched.get(key, {}).items()
            self.vouched[key] = {r: each for r, each in before if r >= oldest} | {number: by}

    def tainted(
        self, keys: Collection[str], number: int, budget: float, liars: Collection[str] = ()
    ) -> range:
        """The rounds before `number`, from the first to the last, that may hold lies.

        Args:
            keys: of the nodes that are newly proven to lie.
            liars: keys that were convicted before: what they did in rounds that the new ones have
                verified is no longer sure.
        """
        oldest = number - rounds_until_caught(budget)
        rounds = [r for key in keys for r in self.rounds.get(key, [])]
        rounds += self._in_league({*keys}, {*keys, *liars})
        own = [r for r in rounds if oldest <= r < number]
        return range(min(own), max(own) + 1) if own else range(0)

    def knows(self, key: str) -> bool:
        """Whether an update of a node counts in some round."""
        return bool(self.rounds.get(key) or self.vouched.get(key))

    def _in_league(self, new: Set[str], liars: Set[str]) -> list[int]:
        """The rounds in which liars have verified liars, at least one of them a `new` one."""
        return [
            number
            for key in liars
            for number, others in self.vouched.get(key, {}).items()
            if liars & {*others} and new & {key, *others}
        ]

    def forget(self, after: int, number: int) -> None:
        """Take back the rounds after `after`, up to `number`."""
        self.rounds = {
            key: [r for r in rounds if r <= after] for key, rounds in self.rounds.items()
        }
        self.vouched = {
            key: {r: others for r, others in rounds.items() if r <= after}
            for key, rounds in self.vouched.items()
        }
        self.taken_back += number - after

    def drop(self, keys: Iterable[str]) -> None:
        """Forget what these nodes have put in: the run has gone back before it, or never will."""
        for key in keys:
            self.rounds.pop(key, None)

    def may_go_back(self, after: int, number: int, rounds: int) -> bool:
        """Whether the run may go back from round `number` to the end of `after`. In all it goes
        back over at most as many `rounds` as it has: else liars that are convicted one after the
        other, on purpose, could keep it from its end."""
        return self.taken_back + number - after <= rounds

    def restore(self, state: Mapping) -> None:
        """Undo `state`."""
        self.rounds, self.taken_back = dict(state["rounds"]), state["taken_back"]
        self.vouched = dict(state["vouched"])


def rounds_until_caught(budget: float) -> float:
    """After how many rounds, with a lie in one window of each, the probability that chance has
    missed all of them is ALPHA."""
    chance = RANDOM_SHARE * budget
    return math.ceil(math.log(ALPHA) / math.log1p(-chance)) if chance else math.inf


def why_back(played: Round, after: int) -> str:
    """Why a run goes on from the weights after an earlier round, in words."""
    return f"{tainted_rounds(played)}, so the run goes on from the weights after round {after}"


def tainted_rounds(played: Round) -> str:
    """Which rounds may hold what a proven liar has put in, in words."""
    first, last = played.tainted[0], played.tainted[-1]
    since = f"round {last}" if first == last else f"rounds {first} to {last}"
    return f"{', '.join(played.bans)} lied: {since} may hold more of it"
