"""False reports. An evaluation is work like any other, so the coordinator takes some batches of the
round's reports and figures itself: which ones, and what follows from them."""

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
    """The round's cross-check without the reports that are found to be false. One batch is checked
    that nobody can foresee, and the one that stands out most."""
    if not checked.reports:
        return checked
    size, draw = settler.evaluator.batch_size, gathered.start.draw("reports")
    proofs: list[Proof] = []
    false, unheard, hidden = set[int](), set[int](), set[int]()
    for report, with_it, batch in _reports_to_look_at(checked.reports, size, draw):
        if report.validator in false:
            continue
        try:
            proven, plausible = _check_batch(settler, gathered, report, with_it, batch)
        except ReplicaLost:  # its update was not shown, and who reports of it may be an accomplice
            hidden.add(report.candidate)
            continue
        except CannotRead:  # that proves nothing against anybody
            continue
        except DigestMismatch as error:
            name = gathered.names[error.replica][error.stage]
            proofs.append(Proof((name,), f"audit: {error}"))
            continue
        proofs += proven
        if not plausible:
            false.add(report.validator)
        if plausible is False and not proven:  # it lies, and nobody knows which of its nodes does
            unheard.add(report.validator)
    rest = checked.without(false)
    works = rest.works | dict.fromkeys(hidden, NOT_SEEN)
    return replace(rest, works=works, proofs=proofs, unheard=unheard)


def _check_batch(
    settler: Settler, gathered: Gathered, report: Report, with_it: int, batch: int
) -> tuple[list[Proof], bool | None]:
    """Take one batch of a report. Returns the proofs against nodes that lie in it; and whether it
    is plausible, None if nobody can tell. Raises as `_candidate_update`, and CannotRead."""
    evaluated = report.with_it if with_it else report.without
    doubt = _doubt(settler, gathered, evaluated, batch)
    true = truth(settler.evaluator, doubt)
    proofs = false_evaluation(settler, doubt, true) if is_provable(settler, evaluated) else []
    return proofs, not proofs and is_plausible(settler.evaluator, doubt, true, report.gains)


def _reports_to_look_at(
    reports: Sequence[Report], size: int, draw: torch.Generator
) -> list[tuple[Report, int, int]]:
    """The batches to check: the report, 0 for its evaluation without the candidate's update or 1
    for that with it, and the batch's number. One is drawn by chance; and the batch in which a
    sample's gain stands out most in its report is checked on both sides, for with a single sample
    a liar moves the whole test."""
    distances = [_outlyingness(report.gains).split(size) for report in reports]
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


def _outlyingness(values: torch.Tensor) -> torch.Tensor:
    """The distance of each value from the median over the first dimension, in units of the median
    distance; infinite for what is not a number."""
    if not len(values):
        return values
    distances = (values - values.nanmedian(dim=0).values).abs()
    typical = distances.nanmedian(dim=0).values.clamp(min=torch.finfo(torch.float64).tiny)
    return (distances / typical).nan_to_num(nan=torch.inf)


def _outlying(distances: Sequence[float]) -> list[int]:
    """The place of the largest distance. If it is infinite, also that of the largest finite one: a
    sample may have no loss, whoever evaluates it, and no lie shall hide behind such a sample."""
    most = max(range(len(distances)), key=distances.__getitem__)
    numbers = [place for place, distance in enumerate(distances) if distance < math.inf]
    if most in numbers or not numbers:
        return [most]
    return [most, max(numbers, key=distances.__getitem__)]


def _doubt(settler: Settler, gathered: Gathered, evaluated: Evaluated, batch: int) -> Doubt:
    """The doubt whether one batch of a report is true. Raises as `_candidate_update`."""
    update = _candidate_update(settler, gathered, evaluated.order.candidate)

    def ask(other: Replica) -> list[Evaluation]:
        hold_all(other, update)  # from here: its owner might show another one
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
    """The proofs against nodes that have lied when the global weights were measured on held-out
    samples. Two of all batches are checked: one by chance, and the one that stands out most. [] in
    a job in which work cannot be repeated."""
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
        with suppress(CannotRead):  # that proves nothing against whoever has read it
            proofs += false_evaluation(settler, doubt, truth(settler.evaluator, doubt))
    return proofs


def _to_look_at(
    answers: Sequence[Evaluated], size: int, draw: torch.Generator
) -> list[tuple[Evaluated, int]]:
    """The batches to check: the evaluation, and the batch's number. A batch stands out by the mean
    of its losses, or of a column of its rows, against the median of all batches; most of all if
    that is not finite."""
    batches, means = [], []
    for evaluated in answers:
        last = evaluated.parts[-1]
        by_batch = torch.cat([last.losses.double().view(-1, 1), last.rows], dim=1).split(size)
        batches += [(evaluated, batch) for batch in range(len(by_batch))]
        means += [rows.mean(dim=0) for rows in by_batch]
    distances = _outlyingness(torch.stack(means)).amax(dim=1).tolist()
    chance = int(torch.randint(len(batches), (), generator=draw))
    return [batches[place] for place in sorted({chance, *_outlying(distances)})]


def _candidate_update(
    settler: Settler, gathered: Gathered, candidate: int | None
) -> list[torch.Tensor]:
    """The update with which the global weights were evaluated, by stage: the one that the candidate
    has committed to; [] for no candidate. The candidate may be an accomplice of the replica that
    has evaluated it: it is asked for the update only where that was not kept.

    Raises:
        ReplicaLost: the candidate does not answer.
        DigestMismatch: it shows another update.
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
