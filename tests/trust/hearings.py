"""Findings of the screen and of a cross-check, for tests of what follows from them."""

import math

import torch

from tdml.trust import Moments, Screening
from tdml.trust.evidence import CONVICTION
from tdml.trust.exam import Exam, Hearing
from tdml.trust.verdict import decide

CAP = CONVICTION / 2  # what a clear outcome of one round adds or takes away
MUCH = CONVICTION * 2 / 3  # from here on suspicious
WORKED, IDLE, HARMFUL, HARMFUL_IDLE = "worked", "idle", "harmful", "harmful and idle"


def found(suspects=(), guilty=(), equals=(), certain=(), apart=(), vast=()):
    nothing = torch.zeros(4)
    guilty = tuple(sorted({*guilty, *certain, *apart, *vast}))
    suspects = tuple(sorted({*suspects, *guilty, *(row for group in equals for row in group)}))
    reasons = {i: f"row {i} wide" for i in suspects}
    return Screening(
        suspects, guilty, Moments(nothing, nothing), reasons, tuple(equals), tuple(certain), tuple(apart), tuple(vast)
    )


def heard(works, candidates=None, perjurers=None, own=128, held_out=128):
    """A hearing whose candidates clearly worked, or clearly did not, and clearly did harm, or did not.

    Candidate 1, if it worked, knows its samples so well that it is all to its credit that a round can bring.
    """
    generator = torch.Generator().manual_seed(0)
    owners = torch.cat([torch.arange(len(works)).repeat_interleave(own), torch.full((held_out,), -1)])
    hardness = 0.3 * torch.randn(len(owners), generator=generator)
    logs = math.log(0.3) + hardness + 0.2 * torch.randn(len(works), len(owners), generator=generator)
    for i, work in enumerate(works):
        logs[i, owners == i] -= (1.6 if i == 1 else 0.8) * (work in (WORKED, HARMFUL))
        logs[i] += math.log(20) * (work in (HARMFUL, HARMFUL_IDLE))
    labels = torch.arange(len(owners)) % 4
    exam = Exam(torch.exp(hardness) * 0.4, torch.exp(logs), labels, owners)
    return Hearing(tuple(candidates or range(len(works))), exam, perjurers or {})


def verdicts(
    hearing=None, overall=None, by_stage=None, before=None, alike=True, replicas=4, suspected_before=None
):  # fmt: skip
    by_stage = [found(), found()] if by_stage is None else by_stage
    before = before or [0.0] * replicas
    return decide(hearing, overall or found(), by_stage, before, alike, suspected_before=suspected_before)


CLEAN, SUSPECT, GUILTY, ANOTHER = found(), found([1]), found([1], [1]), found([0, 2], certain=[0])
CERTAIN, APART, VAST = found(certain=[1]), found(apart=[1]), found(vast=[1])
ALL_WORKED = [WORKED] * 4
ROW_1 = {work: [WORKED, work, WORKED, WORKED] for work in (WORKED, IDLE, HARMFUL, HARMFUL_IDLE)}
