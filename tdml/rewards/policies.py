"""Policies: what a node is paid for a round. They compute with integers, so that all machines
agree."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction

from tdml.rewards.entries import Terms, Verdict


class Policy(ABC):
    """Weighs the work of nodes whose replicas have handed in something."""

    # whether it needs to know by how much the held-out loss would rise without each update: that
    # costs an evaluation for every replica
    by_improvement = False
    verified = False  # whether it pays only for work that was repeated

    def __init__(self, terms: Terms) -> None:
        self.shares, self.samples = terms.shares, terms.samples
        self.pool, self.chance = terms.pool, Fraction(terms.audit_chance)

    def parts(self, verdicts: Sequence[Verdict]) -> list[list[int]]:
        """What a round pays by replica and stage, whatever the verdicts."""
        return self.usual(verdicts)

    def usual(self, verdicts: Sequence[Verdict]) -> list[list[int]]:
        """What such a round pays on average over all choices of the windows that are repeated: at
        most the pool."""
        return divide(self.pool, self.weights(verdicts), self.full())

    def most(self) -> Fraction:
        """The most that a round can pay."""
        return Fraction(self.pool)

    @abstractmethod
    def weights(self, verdicts: Sequence[Verdict]) -> list[list[int]]:
        """The weights by replica and stage, none below 0. A replica whose update does not count has
        the same as if it did."""

    @abstractmethod
    def full(self) -> int:
        """The sum of all weights in a round in which every replica hands in all of its work. It
        fixes the price of work: nobody earns more if others are kept from working."""


class Equal(Policy):
    """Every node the same."""

    def weights(self, verdicts: Sequence[Verdict]) -> list[list[int]]:
        return [[1 for _ in self.shares] for _ in verdicts]

    def full(self) -> int:
        return len(self.samples) * len(self.shares)


class Work(Policy):
    """Samples × the stage's share of the computation."""

    def weights(self, verdicts: Sequence[Verdict]) -> list[list[int]]:
        return [[verdict.samples * share for share in self.shares] for verdict in verdicts]

    def full(self) -> int:
        return sum(self.samples) * sum(self.shares)


class Verified(Work):
    """As `Work`, but only windows that chance had repeated are paid, 1 / q times each, where q is
    the chance of each.

    On average that pays the same, and no lie pays, even if the liar has nothing to lose: it saves
    the work of one window, and with the chance q costs the pay of 1 / q windows, by a proof or by
    silence. So nobody gains by coming back under another key.
    """

    verified = True

    def __init__(self, terms: Terms) -> None:
        """Raises:
        ValueError: nothing is repeated.
        """
        super().__init__(terms)
        if not self.chance:
            raise ValueError("only what was repeated is paid, and nothing of this job is")

    def parts(self, verdicts: Sequence[Verdict]) -> list[list[int]]:
        return [
            [int(part * self._windows(verdict)) for part in row]
            for verdict, row in zip(verdicts, self.usual(verdicts), strict=True)
        ]

    def most(self) -> Fraction:
        return self.pool / self.chance

    def _windows(self, verdict: Verdict) -> Fraction:
        """For how many rounds like this one its repeated windows stand."""
        return Fraction(verdict.repeated, verdict.samples or 1) / self.chance


class Improvement(Policy):
    """By how much the held-out loss would be worse without the replica, never below 0 × the stage's
    share.

    What honest nodes have added to an update that another of their replica has spoilt cannot be
    measured: it counts as much as the mean of the replicas in which nobody is blamed.
    """

    by_improvement = True

    def weights(self, verdicts: Sequence[Verdict]) -> list[list[int]]:
        sound = [max(0, verdict.improvement) for verdict in verdicts if not verdict.blamed]
        usual = sum(sound) // max(1, len(sound))
        worth = [usual if verdict.blamed else max(0, verdict.improvement) for verdict in verdicts]
        return [[improvement * share for share in self.shares] for improvement in worth]

    def full(self) -> int:
        """Nobody knows beforehand what there is to improve: the pool is divided."""
        return 0


# By their name in `rewards.policy`.
POLICIES: dict[str, type[Policy]] = {
    "work": Work,
    "equal": Equal,
    "improvement": Improvement,
    "verified": Verified,
}


def policy_of(terms: Terms) -> Policy:
    """The policy of a job.

    Raises:
        ValueError: there is no such policy, or it cannot pay this job.
    """
    if terms.policy not in POLICIES:
        raise ValueError(f"there is no policy {terms.policy}: choose from {', '.join(POLICIES)}")
    return POLICIES[terms.policy](terms)


def divide(pool: int, weights: Sequence[Sequence[int]], full: int) -> list[list[int]]:
    """Divide the pool: each weight gets its proportion to `full`, or to the sum of all weights if
    that is more, rounded down; 0 if nothing has weight."""
    total = max(full, sum(map(sum, weights))) or 1
    return [[pool * weight // total for weight in row] for row in weights]
