"""The jury of a cross-check: validators evaluate candidates through their own pipelines."""

from collections.abc import Mapping

import torch

from tdml.cluster.fleet import Fleet
from tdml.cluster.gather import Gathered
from tdml.cluster.messages import Evaluation
from tdml.cluster.replica import Replica


def hold_jury(
    fleet: Fleet, found: Gathered, juries: Mapping[int, tuple[int, ...]], samples: int
) -> tuple[torch.Tensor | None, dict[int, torch.Tensor]]:
    """Evaluate candidates on the first `samples` of the validation half.

    Args:
        juries: candidate → its validators.

    Returns the losses of the weights that the round started from, (validators, samples), None if no
    validator answered; and candidate → the losses with its update, (its validators, samples). Validators
    that are lost or answer with something else than losses are left out.
    """
    validators = sorted({validator for jury in juries.values() for validator in jury})
    half = range(samples)

    def judge(validator: Replica) -> tuple[Evaluation, dict[int, Evaluation]]:
        before = validator.evaluate("validation", half)
        mine = [candidate for candidate, jury in juries.items() if validator.index in jury]
        rows = {candidate: found.replicas.index(candidate) for candidate in mine}
        return before, {
            candidate: validator.evaluate("validation", half, [updates[row] for updates in found.updates])
            for candidate, row in rows.items()
        }

    answers = fleet.each(judge, fleet.ready(validators))
    befores = [before.losses for before, _ in answers.values() if _sound(before, samples)]
    after = {}
    for candidate, jury in juries.items():
        evaluations = [answers[validator][1][candidate] for validator in jury if validator in answers]
        losses = [evaluation.losses for evaluation in evaluations if _sound(evaluation, samples)]
        if losses:
            after[candidate] = torch.stack(losses)
    return (torch.stack(befores) if befores else None), after


def _sound(evaluation: object, samples: int) -> bool:
    return isinstance(evaluation, Evaluation) and evaluation.losses.shape == (samples,)
