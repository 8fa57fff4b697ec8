"""Own advantage: a replica that has worked knows its own samples better than the others do.

Whoever trains on a sample lowers its loss more than those who never saw it. Work that was copied, replayed,
invented, turned round or done on other labels does not. So each candidate's losses are compared twice: with
the other candidates' on the samples that it was assigned, and with theirs on all other samples; the
difference of the two comparisons is its own advantage, and that over its standard error is t. A candidate
that is better or worse than the others everywhere gains nothing by it. (The score on assigned against random
data is known from Templar's Gauntlet; that it is relative to the peers, by class and by what there was to
learn, is ours.)

With shares that are drawn alike:

- losses are compared as log(loss + ε), because honest models differ by factors, not by sums;
- a sample counts by the probability that is still missing from its right label, because what is known
  already cannot be learned;
- own samples are compared with others of the same class, so that the mix of classes in a share is no
  advantage.

With skewed shares nearly every sample of a class belongs to one replica: then nothing is matched, and knowing
one's own classes is itself the advantage. It can be negative for an honest replica whose classes are those that most
others know better; but it has made progress on its own samples since the round's start.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tdml.trust.exam import Exam
from tdml.trust.medians import median, median_of_others

_EPSILON = {True: 0.01, False: 0.1}  # nats, by whether the shares are alike
_LEAST_WEIGHT = 0.02
_LEAST_MISSING = 0.03
_LEAST_CONTROLS = 3  # samples of a class that others were assigned, without which it cannot be compared
_LEAST_OWN = 4
_CLEARLY = 3.0  # standard errors
_LEAST_CANDIDATES = 3  # of two, each is the only measure of the other


@dataclass(frozen=True)
class Advantage:
    """`t` (n,) float64: each candidate's own advantage over its standard error, 0 where nothing could be compared.
    `expected` (n,) float64: what its peers' make one expect of it, never below 0. `learnt` (n,) bool: whether it does
    better on its own samples than the weights that the round started from; all have where fewer than two thirds do, for
    then there was little to learn. `missing` (n,) float64: the probability that is still missing from the right labels
    of its own samples, on average, as its peers see them. `error` is the standard error of what is expected of one who
    has as much to learn as its peers."""

    t: torch.Tensor
    expected: torch.Tensor
    learnt: torch.Tensor
    missing: torch.Tensor
    error: float


def own_advantage(exam: Exam, alike: bool, trusted: Sequence[int]) -> Advantage:
    """Measure the candidates' own advantages.

    Args:
        alike: whether the replicas' shares are drawn alike.
        trusted: the rows that may set the measure for the others.
    """
    exam = _distinct(exam)
    logs = torch.log(_finite(exam.after) + _EPSILON[alike])
    peers = median_of_others(logs, trusted)
    gain = peers - logs
    usual = torch.exp(median(logs[list(trusted)])) - _EPSILON[alike]
    missing = 1 - torch.exp(-(usual.clamp(min=0) + _finite(exam.before)) / 2)
    weight = missing + _LEAST_WEIGHT if alike else torch.ones_like(missing)
    labels = exam.labels if alike else torch.zeros_like(exam.labels)
    rows = range(len(logs))
    t = torch.tensor(
        [_t(gain[i], weight, labels, exam.owners == i, exam.owners != i) for i in rows], dtype=torch.float64
    )
    chance = torch.tensor([_to_learn(missing[exam.owners == i]) if alike else 1.0 for i in rows], dtype=torch.float64)
    left = torch.stack([missing[exam.owners == i].mean() for i in rows]).nan_to_num(nan=0.0)
    compared = ~t.isnan()
    chance, t = chance * compared, t.nan_to_num(nan=0.0)
    progress = torch.log(_finite(exam.before) + _EPSILON[alike]) - logs
    learnt = torch.tensor([_is_positive(progress[i, exam.owners == i]) for i in rows])
    if 3 * int(learnt.sum()) < 2 * len(learnt):
        learnt = torch.ones_like(learnt)
    usable = [row for row in trusted if chance[row] > 0]
    return Advantage(t, _expected(t, chance, usable), learnt, left, _error_of_median(len(usable) - 1))


def _distinct(exam: Exam) -> Exam:
    """Without the copies of samples: what an owner has of one class, and every model loses the same on, counts once."""
    about = [exam.owners.double(), exam.labels.double(), _finite(exam.before), *_finite(exam.after)]
    rows = (torch.stack(about, dim=1) + 0.0).numpy()  # without −0, for they are compared as bytes
    _, first = np.unique(rows.view(f"V{rows.itemsize * rows.shape[1]}").ravel(), return_index=True)
    kept = torch.from_numpy(np.sort(first))
    return Exam(exam.before[kept], exam.after[:, kept], exam.labels[kept], exam.owners[kept])


def _t(
    gain: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, own: torch.Tensor, control: torch.Tensor
) -> float:
    """The weighted mean gain of the own samples over that of the controls of the same classes, in standard errors; NaN
    where there is nothing to compare."""
    classes = int(labels.max()) + 1 if len(labels) else 1
    counts = torch.bincount(labels[control], minlength=classes)
    own = own & (counts[labels] >= _LEAST_CONTROLS)
    if int(own.sum()) < _LEAST_OWN:
        return math.nan

    def by_class(values: torch.Tensor) -> torch.Tensor:
        return torch.bincount(labels[control], values[control], minlength=classes)

    total = by_class(weight).clamp(min=1e-100)
    level = by_class(weight * gain) / total
    error = by_class((weight * (gain - level[labels])) ** 2) / total**2  # of the level
    share = weight[own] / weight[own].sum()
    excess = (gain - level[labels])[own]
    advantage = (share * excess).sum()
    mix = torch.bincount(labels[own], share, minlength=classes)
    variance = (share**2 * (excess - advantage) ** 2).sum() + (mix**2 * error).sum()
    return float(advantage / variance.sqrt()) if variance > 0 else math.nan


def _is_positive(values: torch.Tensor) -> bool:
    """Whether the mean lies above zero by _CLEARLY standard errors."""
    return len(values) >= _LEAST_OWN and float(values.mean()) > _CLEARLY * float(values.std()) / len(values) ** 0.5


def _to_learn(missing: torch.Tensor) -> float:
    """How large an advantage a set of samples allows, up to a factor that all replicas share."""
    return float((missing**2 + _LEAST_MISSING**2).sum().sqrt())


def _error_of_median(peers: int) -> float:
    """Of so many values whose own standard error is 1: exact for one and for very many, and to 2 % for other odd
    numbers; for even ones it is less."""
    return math.sqrt(math.pi / 2 / (max(peers, 1) + math.pi / 2 - 1))


def _expected(t: torch.Tensor, chance: torch.Tensor, usable: Sequence[int]) -> torch.Tensor:
    """The median of the usable peers' t, and in proportion less where there was less to learn."""
    if len(usable) < _LEAST_CANDIDATES:
        return torch.zeros_like(t)
    usual = median_of_others(torch.stack([t, chance], dim=1), usable)
    return (usual[:, 0] * (chance / usual[:, 1].clamp(min=1e-300)).clamp(max=1)).clamp(min=0)


def _finite(losses: torch.Tensor) -> torch.Tensor:
    """NaN and infinity count as a loss that no honest model reaches."""
    return torch.nan_to_num(losses.double(), nan=1e4, posinf=1e4).clamp(0, 1e4)
