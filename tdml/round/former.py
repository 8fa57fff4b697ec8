"""Updates that were handed in before. Other weights and other samples never lead to the same
numbers again, so whoever hands them in stands out beyond every limit."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from tdml.trust.screen import Screening

_ROUNDS = 32  # that are remembered: every checkpoint holds all of them


@dataclass
class Former:
    """The contents of the updates of the last rounds, by their numbers."""

    rounds: dict[int, list[str]] = field(default_factory=dict)

    def again(self, number: int, updates: Mapping[int, Mapping[int, str]]) -> set[int]:
        """The replicas that hand in, in some stage, what somebody had handed in in another round.
        Where most do nothing is learnt, as in a frozen stage, and nobody stands out. A round that
        was taken back comes again, in which the honest may well do the same.

        Args:
            number: of the round.
            updates: the contents of its updates, by replica and stage, but for those of zeros,
                which are no sign of anything. They are remembered.
        """
        self.rounds.pop(number, None)
        known = {content for contents in self.rounds.values() for content in contents}
        stages = {stage for contents in updates.values() for stage in contents}
        replicas: set[int] = set()
        for stage in stages:
            same = {index for index, contents in updates.items() if contents.get(stage) in known}
            replicas |= same if 2 * len(same) <= len(updates) else set()
        now = [content for contents in updates.values() for content in contents.values()]
        self.rounds = dict([*self.rounds.items(), (number, now)][-_ROUNDS:])
        return replicas


def mark(screening: Screening, replicas: Collection[int]) -> Screening:
    """The screening of a round in which these replicas' updates were handed in before."""
    reasons = dict.fromkeys(replicas, "same numbers as in an earlier round") | screening.reasons
    distances = {**screening.distances, **dict.fromkeys(replicas, math.inf)}
    return replace(screening, reasons=reasons, distances=distances)
