"""What a node's round counts, and the division of the pool by it. Integers throughout: all machines
must agree."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from tdml.rewards.entries import Verdict


class Policy(ABC):
    """Weighs the nodes of the replicas that handed in something. `shares`: of the computation, by
    stage. `by_improvement`: it takes what the held-out loss would rise without each update, which
    costs an evaluation for every replica."""

    by_improvement = False

    def __init__(self, shares: Sequence[int]) -> None:
        self.shares = list(shares)

    @abstractmethod
    def weights(self, verdicts: Sequence[Verdict]) -> list[list[int]]:
        """By replica and stage, none below 0, those of a replica that is refused as if it had been
        accepted."""


class Equal(Policy):
    """Every node the same."""

    def weights(self, verdicts: Sequence[Verdict]) -> list[list[int]]:
        return [[1 for _ in self.shares] for _ in verdicts]


class Work(Policy):
    """Samples × the stage's share of the computation."""

    def weights(self, verdicts: Sequence[Verdict]) -> list[list[int]]:
        return [[verdict.samples * share for share in self.shares] for verdict in verdicts]


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


# By their name in `rewards.policy`.
POLICIES: dict[str, type[Policy]] = {"work": Work, "equal": Equal, "improvement": Improvement}


def policy_of(name: str, shares: Sequence[int]) -> Policy:
    """The policy of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in POLICIES:
        raise ValueError(f"there is no policy {name}: choose from {', '.join(POLICIES)}")
    return POLICIES[name](shares)


def divide(pool: int, weights: Sequence[Sequence[int]]) -> list[list[int]]:
    """The pool in proportion to the weights, each part rounded down, all 0 where nothing has
    weight.

    So a part depends on its weight and the sum alone. The rest, less than a unit per node, is the
    treasury's.
    """
    total = sum(map(sum, weights)) or 1
    return [[pool * weight // total for weight in row] for row in weights]
