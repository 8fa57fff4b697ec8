"""Updates that are handed in a second time. Honest work on other weights and other samples never
leads to the same numbers, so whoever hands in an old update stands out beyond every limit."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from tdml.trust.screen import Screening

_ROUNDS = 32  # that are remembered: every checkpoint holds all of them


@dataclass
class PastUpdates:
    """The digests of the updates of the last rounds, by the rounds' numbers."""

    rounds: dict[int, list[str]] = field(default_factory=dict)

    def resubmitted(self, number: int, updates: Mapping[int, Mapping[int, str]]) -> set[int]:
        """Which replicas hand in, in some stage, what a replica had handed in in another round. The
        updates of this round are remembered.

        Where most of them do so, the stage learns nothing, as one that is frozen, and nobody stands
        out. A round that was taken back is played again: it may well lead to the same.

        Args:
            number: of the round.
            updates: the digests of its updates, by replica and stage, without those of zeros.
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


def mark_resubmitted(screening: Screening, replicas: Collection[int]) -> Screening:
    """A screening in which these replicas stand out, for their updates were handed in before."""
    reasons = dict.fromkeys(replicas, "same numbers as in an earlier round") | screening.reasons
    distances = {**screening.distances, **dict.fromkeys(replicas, math.inf)}
    return replace(screening, reasons=reasons, distances=distances)
