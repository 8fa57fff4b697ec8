"""The cross-check: candidates judged by other replicas on held-out data.

Each candidate is evaluated by several validators, on the same samples; the median over the validators
counts, sample by sample, so that a minority of liars changes nothing (of two the milder counts: nobody is
convicted on one word against another). What is compared is the probability
that a model gives to the right label, exp(−loss): unlike the loss it is bounded, so that one wild sample
decides nothing. Early in training honest models' losses differ by factors of ten and more, their
probabilities do not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

_HARMFUL_SHARE = 0.4  # of its peers' and of the starting point's probability
_HARMFUL_T = 4.0  # standard errors below the median peer
LEAST_SAMPLES = 32
SUSPECT_SAMPLES = 128
_BACKWARD = 3  # a training step costs about three forward passes


@dataclass(frozen=True)
class Judgement:
    """The outcome for one candidate."""

    harmful: bool
    loss_change: float  # held-out loss after minus before, mean over samples; may be infinite
    reason: str


def plan_checks(
    replicas: Sequence[int], suspects: Sequence[int], validators: int, validation: int, training_samples: int,
    budget: float, batch_size: int, generator: torch.Generator,
) -> tuple[dict[int, tuple[int, ...]], int]:  # fmt: skip
    """Who judges whom, and on how many samples.

    With suspects every replica is judged, the others serving as the measure, whatever it costs. Without,
    everyone is, on as many samples as the budget affords; where those would be too few to tell anything, a
    random choice of replicas on the fewest that do. Costs are counted (forward passes), not timed, so that
    the plan is a pure function of the seed.

    Args:
        replicas: those that handed in an update.
        validation: samples in the validation half.
        training_samples: samples that all replicas together trained on in this round.
        budget: share of the round's computation.
        batch_size: validators evaluate whole batches, so a part of one would be paid for and not used.

    Returns candidate → its validators, and the number of samples.
    """
    jurors = min(validators, len(replicas) - 1)
    if jurors < 1:
        return {}, 0
    samples, candidates = min(validation, SUSPECT_SAMPLES), list(replicas)
    if not suspects:
        affordable = budget * _BACKWARD * training_samples
        count = len(replicas)
        while count and affordable < min(LEAST_SAMPLES, validation) * _evaluations(count, jurors, len(replicas)):
            count -= 1
        if count == 0:
            return {}, 0
        shuffled = [replicas[i] for i in torch.randperm(len(replicas), generator=generator)]
        candidates = sorted(shuffled[:count])
        samples = min(validation, int(affordable / _evaluations(count, jurors, len(replicas))))
        samples -= samples % batch_size if samples > batch_size else 0
    return {candidate: _jury(candidate, replicas, jurors, generator) for candidate in candidates}, samples


def _evaluations(candidates: int, jurors: int, replicas: int) -> int:
    """Of candidates by their jurors, and of the starting point by every replica that is a juror."""
    return candidates * jurors + min(replicas, candidates * jurors)


def _jury(candidate: int, replicas: Sequence[int], jurors: int, generator: torch.Generator) -> tuple[int, ...]:
    others = [replica for replica in replicas if replica != candidate]
    chosen = torch.randperm(len(others), generator=generator)[:jurors]
    return tuple(sorted(others[i] for i in chosen))


def judge_losses(
    before: torch.Tensor, after: Mapping[int, torch.Tensor], trusted: Sequence[int]
) -> dict[int, Judgement]:
    """Judge the candidates of one round.

    Args:
        before: (validators, samples) losses of the global weights that the round started from.
        after: candidate → (validators, samples) losses with its update. NaN counts as the worst.
        trusted: the candidates that the screen does not suspect; they are the measure for the others.

    A candidate is harmful if its probability of the right label is below 0.4 of both the starting point's
    and the median peer's, and 4 standard errors below the peers'. That alone convicts nobody: one honest
    replica in a few dozen does as badly after a bad run of batches, and far more do under skewed data.
    """
    start = _probability(before)
    probabilities = {candidate: _probability(losses) for candidate, losses in after.items()}
    start_loss = _median_loss(before).mean()
    judgements = {}
    for candidate, probability in probabilities.items():
        change = float(_median_loss(after[candidate]).mean() - start_loss)
        peers = [probabilities[peer] for peer in trusted if peer != candidate and peer in probabilities]
        measure = torch.stack(peers).quantile(0.5, dim=0) if peers else start
        bar = _HARMFUL_SHARE * min(float(start.mean()), float(measure.mean()))
        harmful = float(probability.mean()) < bar and _t_statistic(measure - probability) > _HARMFUL_T
        reason = (
            f"held-out loss {change:+.3g}; probability of the right label {float(probability.mean()):.2f}, "
            f"peers {float(measure.mean()):.2f}, before {float(start.mean()):.2f}, {before.shape[1]} samples"
        )
        judgements[candidate] = Judgement(harmful, change, reason)
    return judgements


def _median_loss(losses: torch.Tensor) -> torch.Tensor:
    """(validators, samples) → (samples,)"""
    worst = losses.double().where(~losses.isnan(), torch.inf).clamp(min=0)
    return worst.quantile(0.5, dim=0, interpolation="lower")


def _probability(losses: torch.Tensor) -> torch.Tensor:
    return torch.exp(-_median_loss(losses))


def _t_statistic(differences: torch.Tensor) -> float:
    error = differences.std() / len(differences) ** 0.5
    return float(differences.mean() / error) if error > 0 else float("inf") * float(differences.mean().sign())
