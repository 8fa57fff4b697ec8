"""A round's cross-check in the laboratory: replicas judge each other's updates, and may lie."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from tdml.bench.federation import Federation
from tdml.cluster import jury
from tdml.cluster.jury import Questions
from tdml.data import pieces
from tdml.trust.cross_check import CheckPlan
from tdml.trust.exam import Hearing
from tdml.trust.hearing import Juries, Testimony
from tdml.trust.verdict import Verdict


@dataclass(frozen=True)
class Round:
    """What the live replicas handed in: one (n, d_s) matrix per stage, its rows those of `replicas`."""

    federation: Federation
    number: int
    replicas: list[int]
    stages: list[torch.Tensor]

    @property
    def samples(self) -> list[int]:
        """What each row was trained on: its weight in a plain average."""
        return [self.federation.job.samples(replica) for replica in self.replicas]

    def generator(self) -> torch.Generator:
        """Decides who judges whom."""
        return torch.Generator().manual_seed(self.federation.job.seed("cross-check", self.number))


def cross_check(
    found: Round, plan: CheckPlan, suspects: frozenset[int], judge: Callable[[Hearing], Sequence[Verdict]]
) -> Hearing | None:
    """Have the candidates of a plan heard, as `tdml.cluster.jury.cross_check` does; each is evaluated only once, for
    honest validators all report the same.

    Args:
        plan: by the replicas' indices.
        suspects: of the screen, by the rows of the updates.
    """
    federation = found.federation
    true: dict[int | None, torch.Tensor] = {}

    def ask(juries: Juries, questions: Questions) -> Testimony:
        inputs = torch.cat([pieces.read(federation.job.source, piece)[0] for piece in questions.pieces])
        for candidate in juries.keys() - true.keys():
            update = None if candidate is None else [updates[candidate] for updates in found.stages]
            true[candidate] = federation.losses(inputs, questions.labels, update)
        return {candidate: {juror: report(juror, candidate) for juror in those} for candidate, those in juries.items()}

    def report(juror: int, candidate: int | None) -> torch.Tensor:
        whom = None if candidate is None else found.replicas[candidate]
        return federation.testimony(found.replicas[juror], true[candidate], whom, found.number)

    draw = torch.Generator().manual_seed(federation.job.seed("questions", found.number))
    return jury.cross_check(federation.job, found.number, found.replicas, plan, suspects, draw, ask, judge)
