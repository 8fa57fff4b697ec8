"""What a cross-check brings to light, before anyone weighs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from tdml.trust.blame import Blame


@dataclass(frozen=True)
class Exam:
    """The losses of a cross-check, one row per candidate.

    `before` (s,) are those of the weights that the round started from; `after` (n, s) those of each
    candidate; `labels` (s,) int64; `owners` (s,) int64: the row of the candidate that was assigned the
    sample, −1 for held-out samples.
    """

    before: torch.Tensor
    after: torch.Tensor
    labels: torch.Tensor
    owners: torch.Tensor


@dataclass(frozen=True)
class Hearing:
    """A round's cross-check, by rows of the updates: `candidates` are the rows of `exam`; `perjurers` those whose
    testimony contradicts all others', and what they said; `judges` has the validators of each candidate, `contradicted`
    the candidates on whom a perjurer lied, `blame` which of its nodes did, where records tell."""

    candidates: tuple[int, ...]
    exam: Exam
    perjurers: Mapping[int, str]
    judges: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    contradicted: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    blame: Mapping[int, Blame] = field(default_factory=dict)
