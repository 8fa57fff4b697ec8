"""False reports: an evaluation is work like any other. Which batches of the round's reports and
figures the coordinator takes itself."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import torch

from tdml.protocol.orders import UPDATE, EvaluateOrder, Evaluation, ReplicaLost
from tdml.round.cross_check import NOT_SEEN, Checked, Report
from tdml.round.false_evaluation import (
    Doubt,
    Evaluated,
    false_evaluation,
    is_provable,
    truth,
)
from tdml.round.fleet import Replica
from tdml.round.gather import Gathered, updates_of
from tdml.round.plausible import is_plausible
from tdml.round.referee import CannotRead
from tdml.round.settler import Settler
from tdml.round.vectors import DigestMismatch, Vector, fetch_vector, hold_all
from tdml.trust.judgement import Proof


def look_at_reports(settler: Settler, gathered: Gathered, checked: Checked) -> Checked:
    """The round's cross-check without what is false in it, as far as anybody can tell. Looked at
    are one batch that nobody can foresee, and the one that stands out most."""
    if not checked.reports:
        return checked
    size, draw = settler.evaluator.batch_size, gathered.start.draw("reports")
    proofs: list[Proof] = []
    false, unheard, hidden = set[int](), set[int](), set[int]()
    for report, with_it, batch in _reports_to_look_at(checked.reports, size, draw):
        if report.validator in false:
            continue
        try:
            proven, heard = _look(settler, gathered, report, with_it, batch)
        except ReplicaLost:  # who reports of it may be its friend
            hidden.add(report.candidate)
            continue
        except CannotRead:  # which says nothing of anybody
            continue
        except DigestMismatch as error:
            name = gathered.names[error.replica][error.stage]
            proofs.append(Proof((name,), f"audit: {error}"))
            continue
        proofs += proven
        if not heard:
            false.add(report.validator)
        if heard is False and not proven:  # else it is known who of the replica lies
            unheard.add(report.validator)
    rest = checked.without(false)
    works = rest.works | dict.fromkeys(hidden, NOT_SEEN)
    return replace(rest, works=works, proofs=proofs, unheard=unheard)


def _look(
    settler: Settler, gathered: Gathered, report: Report, with_it: int, batch: int
) -> tuple[list[Proof], bool | None]:
    """Who is proven to lie in one batch of a report, and whether it may be heard, if anybody knows.
    Raises what `_update` does, and CannotRead."""
    evaluated = report.with_it if with_it else report.without
    doubt = _doubt(settler, gathered, evaluated, batch)
    true = truth(settler.evaluator, doubt)
    proofs = false_evaluation(settler, doubt, true) if is_provable(settler, evaluated) else []
    return proofs, not proofs and is_plausible(settler.evaluator, doubt, true, report.gains)


def _reports_to_look_at(
    reports: Sequence[Report], size: int, draw: torch.Generator
) -> list[tuple[Report, int, int]]:
    """Which batch of a report, without the candidate's update (0) or with it (1): one by chance;
    and both of the batch in which a sample's gain stands out most of its report's, for with a
    single one a liar moves the whole test."""
    distances = [_standing_out(report.gains).split(size) for report in reports]
    batches = [
        (i, b) for i, parts in enumerate(distances) for b, part in enumerate(parts) if len(part)
    ]
    if not batches:
        return []
    outlying = [batches[n] for n in _outlying([float(distances[i][b].max()) for i, b in batches])]
    chance = batches[int(torch.randint(len(batches), (), generator=draw))]
    side = int(torch.randint(2, (), generator=draw))
    both = [(*place, with_it) for place in outlying for with_it in (0, 1)]
    looks = dict.fromkeys([(*chance, side), *both])
    return [(reports[i], with_it, batch) for i, batch, with_it in looks]


def _standing_out(values: torch.Tensor) -> torch.Tensor:
    """How far each is from the median over the first dimension, in median distances; most of all
    what is no number."""
    if not len(values):
        return values
    distances = (values - values.nanmedian(dim=0).values).abs()
    usual = distances.nanmedian(dim=0).values.clamp(min=torch.finfo(torch.float64).tiny)
    return (distances / usual).nan_to_num(nan=torch.inf)


def _outlying(distances: Sequence[float]) -> list[int]:
    """Where the largest is. Where that is infinite, as of a sample that has no loss, whoever looks
    at it, the largest number too: no lie hides behind such a sample."""
    most = max(range(len(distances)), key=distances.__getitem__)
    numbers = [place for place, distance in enumerate(distances) if distance < math.inf]
    if most in numbers or not numbers:
        return [most]
    return [most, max(numbers, key=distances.__getitem__)]


def _doubt(settler: Settler, gathered: Gathered, evaluated: Evaluated, batch: int) -> Doubt:
    """Whether one batch of a report is true. Raises what `_update` does."""
    update = _update(settler, gathered, evaluated.order.candidate)

    def ask(other: Replica) -> list[Evaluation]:
        hold_all(other, update)  # its owner might show it another one
        return other.evaluate(evaluated.order, columns=0)

    others = settler.fleet.ready(i for i in gathered.replicas if i != evaluated.replica)
    text = f"of an evaluation of replica {evaluated.order.candidate}"
    return Doubt(evaluated, batch, gathered.start.weights, update, ask, others, text)


def false_figures(
    settler: Settler,
    answers: Sequence[Evaluated],
    weights: Sequence[torch.Tensor],
    draw: torch.Generator,
) -> list[Proof]:
    """The nodes whose part in measuring the global weights on held-out samples is false. Two of all
    the batches are looked at: one by chance, and the one that stands out most. Nobody where work
    cannot be repeated."""
    job, fleet = settler.job, settler.fleet
    if not answers or not job.audits:
        return []
    text, proofs = "of the global weights", []
    for evaluated, batch in _to_look_at(answers, settler.evaluator.batch_size, draw):
        if not is_provable(settler, evaluated):
            continue

        def ask(other: Replica, order: EvaluateOrder = evaluated.order) -> list[Evaluation]:
            return other.evaluate(order, columns=job.measures.columns)

        others = fleet.ready(each.replica for each in answers if each.replica != evaluated.replica)
        doubt = Doubt(evaluated, batch, weights, [], ask, others, text)
        with suppress(CannotRead):  # which says nothing of who has read it
            proofs += false_evaluation(settler, doubt, truth(settler.evaluator, doubt))
    return proofs


def _to_look_at(
    answers: Sequence[Evaluated], size: int, draw: torch.Generator
) -> list[tuple[Evaluated, int]]:
    """Which evaluation, and which batch of it. What stands out is the mean of losses, or of a
    column of its rows, against the median of all batches; most of all where it is no finite
    number."""
    batches, means = [], []
    for evaluated in answers:
        last = evaluated.parts[-1]
        by_batch = torch.cat([last.losses.double().view(-1, 1), last.rows], dim=1).split(size)
        batches += [(evaluated, batch) for batch in range(len(by_batch))]
        means += [rows.mean(dim=0) for rows in by_batch]
    distances = _standing_out(torch.stack(means)).amax(dim=1).tolist()
    chance = int(torch.randint(len(batches), (), generator=draw))
    return [batches[place] for place in sorted({chance, *_outlying(distances)})]


def _update(settler: Settler, gathered: Gathered, candidate: int | None) -> list[torch.Tensor]:
    """What the global weights were evaluated with, by stage: the candidate's update, as it has
    committed to it, or none. Its owner, who may be in league with who has evaluated it, is asked
    for it only where it was not kept.

    Raises:
        ReplicaLost: it does not answer.
        DigestMismatch: it shows another.
    """
    if candidate is None:
        return []
    layouts = settler.job.layouts
    if gathered.kept:
        blocks = [(stage, own[candidate]) for (stage, _), own in gathered.kept.items()]
        stages = range(len(layouts))
        return [torch.cat([block for s, block in blocks if s == stage]) for stage in stages]
    [owner] = settler.fleet.mustered([candidate])
    return [
        fetch_vector(owner, Vector(UPDATE, stage, layouts[stage].size, content))
        for stage, content in updates_of(settler.job, gathered, candidate).items()
    ]
