"""False reports: an evaluation is work like any other, and the coordinator takes one batch of it
itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from tdml.data import pieces
from tdml.node.agreement import evaluated
from tdml.protocol.orders import UPDATE, EvaluateOrder, Evaluation, ReplicaLost
from tdml.round.audit import Auditor
from tdml.round.check import Checked, Report, hand_over
from tdml.round.fleet import Fleet, Replica
from tdml.round.gather import Gathered, updates_of
from tdml.round.job import Job
from tdml.round.openings import is_log
from tdml.round.recompute import Referee, is_equal
from tdml.round.signatures import Signers, broken_agreements
from tdml.round.vectors import NotShown, Vector, fetch_vector
from tdml.trust.judgement import Proof
from tdml.trust.numbers import AGAIN
from tdml.trust.work import gains


@dataclass(frozen=True)
class Told:
    """What a replica has answered, by stage, when it was to evaluate something."""

    replica: int
    order: EvaluateOrder
    answers: Sequence[Evaluation]


def false_reports(
    job: Job,
    auditor: Auditor,
    fleet: Fleet,
    gathered: Gathered,
    checked: Checked,
) -> list[Proof]:
    """The nodes whose part in a report of the round's cross-check is false. It is looked at one
    batch that nobody can foresee, and at the one that stands out most. Nobody where there are no
    reports."""
    if not checked.reports:
        return []
    draw = gathered.start.draw("reports")
    for report, with_it, batch in _reports_to_look_at(
        checked.reports, auditor.settler.referee.batch_size, draw
    ):
        told = Told(report.validator, report.asked[with_it], (report.before, report.after)[with_it])
        text = f"of an evaluation of replica {report.candidate}"
        if proofs := _false_report(job, auditor, fleet, gathered, told, batch, text):
            return proofs
    return []


def _reports_to_look_at(
    reports: Sequence[Report], size: int, draw: torch.Generator
) -> list[tuple[Report, int, int]]:
    """Which batch of a report, without the candidate's update (0) or with it (1): one by chance;
    and both of the batch in which a sample's gain stands out most of its report's, for with a
    single one a liar moves the whole test."""
    each = [
        _standing_out(gains(r.before[-1].losses, r.after[-1].losses)).split(size) for r in reports
    ]
    batches = [(i, b) for i, parts in enumerate(each) for b, part in enumerate(parts) if len(part)]
    if not batches:
        return []
    outlying = max(batches, key=lambda place: float(each[place[0]][place[1]].max()))
    chance = batches[int(torch.randint(len(batches), (), generator=draw))]
    side = int(torch.randint(2, (), generator=draw))
    looks = dict.fromkeys([(*chance, side), (*outlying, 0), (*outlying, 1)])
    return [(reports[i], with_it, batch) for i, batch, with_it in looks]


def _standing_out(values: torch.Tensor) -> torch.Tensor:
    """How far each is from the median over the first dimension, in median distances; most of all
    what is no number."""
    if not len(values):
        return values
    distances = (values - values.nanmedian(dim=0).values).abs()
    usual = distances.nanmedian(dim=0).values.clamp(min=torch.finfo(torch.float64).tiny)
    return (distances / usual).nan_to_num(nan=torch.inf)


def _false_report(
    job: Job,
    auditor: Auditor,
    fleet: Fleet,
    gathered: Gathered,
    told: Told,
    batch: int,
    text: str,
) -> list[Proof]:
    """The nodes whose part in one batch of a report is false."""
    update = _update(job, fleet, gathered, told.order.candidate)
    if update is None:  # its own audit judges that
        return []

    def ask(other: Replica) -> list[Evaluation]:
        if told.order.candidate is not None:
            [owner] = fleet.placed([told.order.candidate])
            hand_over(job, gathered, owner, other)
        return other.evaluate(told.order, columns=0)

    others = fleet.ready(index for index in gathered.replicas if index != told.replica)
    return _false_evaluation(
        job, auditor, fleet, told, batch, gathered.start.weights, update, ask, others, text
    )


def false_figures(
    job: Job,
    auditor: Auditor,
    fleet: Fleet,
    told: Sequence[Told],
    weights: Sequence[torch.Tensor],
    draw: torch.Generator,
) -> list[Proof]:
    """The nodes whose part in measuring the global weights on held-out samples is false. Two of all
    the batches are looked at: one by chance, and the one that stands out most. Nobody where work
    cannot be repeated."""
    if not told or not job.audits:
        return []
    text, proofs = "of the global weights", []
    for one, batch in _to_look_at(told, auditor.settler.referee.batch_size, draw):

        def ask(other: Replica, order: EvaluateOrder = one.order) -> list[Evaluation]:
            return other.evaluate(order, columns=job.measures.columns)

        others = fleet.ready(each.replica for each in told if each.replica != one.replica)
        proofs += _false_evaluation(job, auditor, fleet, one, batch, weights, [], ask, others, text)
    return proofs


def _to_look_at(told: Sequence[Told], size: int, draw: torch.Generator) -> list[tuple[Told, int]]:
    """Who has told it, and which batch. What stands out is the mean of its losses, or of a column
    of its rows, against the median of all batches; most of all where it is no finite number."""
    batches, means = [], []
    for each in told:
        last = each.answers[-1]
        found = torch.cat([last.losses.double().view(-1, 1), last.rows], dim=1).split(size)
        batches += [(each, batch) for batch in range(len(found))]
        means += [rows.mean(dim=0) for rows in found]
    outlying = _standing_out(torch.stack(means)).amax(dim=1)
    chance = int(torch.randint(len(batches), (), generator=draw))
    return [batches[place] for place in sorted({chance, int(outlying.argmax())})]


def _false_evaluation(
    job: Job,
    auditor: Auditor,
    fleet: Fleet,
    told: Told,
    batch: int,
    weights: Sequence[torch.Tensor],
    update: Sequence[torch.Tensor],
    ask: Callable[[Replica], list[Evaluation]],
    others: Sequence[Replica],
    text: str,
) -> list[Proof]:
    """The nodes whose part in an evaluation is false, by one batch of it.

    Where the coordinator finds something else, another replica must find the same as it does, and
    both again and again: code may keep something where nobody looks. Nothing follows where the
    machines are of different kinds: their logs are not the same.
    """
    referee, size = auditor.settler.referee, auditor.settler.referee.batch_size
    [validator] = fleet.placed([told.replica])
    count = -(-pieces.count(told.order.pieces) // size)
    repeats = validator.kind not in auditor.settler.unrepeatable
    if validator.kind != referee.kind or not repeats or not count:
        return []
    if proofs := _false_logs(job, auditor, fleet, validator, told.order, told.answers, count):
        return proofs
    true = _truth(referee, told.order, weights, update, batch)
    stage = None if true is None else _false_stage(job, told.answers, true, batch, size)
    if true is None or stage is None:
        return []
    if not referee.insists_on_evaluation(told.order, weights, update, batch, true, AGAIN):
        return []

    def confirms(other: Replica) -> bool:
        """Whether it finds the same as the coordinator, every time that it is asked."""
        found = fleet.each(lambda other: [ask(other) for _ in range(AGAIN)], [other])
        return bool(found) and all(
            all(is_log(answer.log, count, job.channels, s) for s, answer in enumerate(answers))
            and _false_stage(job, answers, true, batch, size) is None
            for answers in found[other.index]
        )

    if not any(confirms(other) for other in others if other.kind == referee.kind):
        return []
    reason = f"stage {stage} reports what recomputation does not find {text}"
    return [Proof((validator.names[stage],), reason)]


def _false_logs(
    job: Job,
    auditor: Auditor,
    fleet: Fleet,
    validator: Replica,
    order: EvaluateOrder,
    answers: Sequence[Evaluation],
    count: int,
) -> list[Proof]:
    """The validator's nodes whose logs of `count` batches no honest node gives."""
    false = [
        stage
        for stage, answer in enumerate(answers)
        if not is_log(answer.log, count, job.channels, stage)
        or len(answer.signatures) != len(answers)
    ]
    if false:
        return [
            Proof((validator.names[stage],), "its log of an evaluation has another form")
            for stage in false
        ]
    signers = Signers.of(fleet, auditor.job_id, validator)
    return broken_agreements(job.channels, signers, evaluated(order), answers)


def _update(
    job: Job, fleet: Fleet, gathered: Gathered, candidate: int | None
) -> list[torch.Tensor] | None:
    """What the global weights were evaluated with, by stage: the candidate's update, as it has
    committed to it, or none; None if it does not show that."""
    if candidate is None:
        return []
    [owner] = fleet.placed([candidate])
    contents = updates_of(gathered, candidate)
    try:
        return [
            fetch_vector(owner, Vector(UPDATE, stage, job.layouts[stage].size, content))
            for stage, content in contents.items()
        ]
    except (NotShown, ReplicaLost):
        return None


def _truth(
    referee: Referee,
    order: EvaluateOrder,
    weights: Sequence[torch.Tensor],
    update: Sequence[torch.Tensor],
    batch: int,
) -> Evaluation | None:
    """What the coordinator finds; None where the model raises at such an update, whatever that is:
    who reports something of it has not run it, but nobody knows what is true."""
    try:
        return referee.evaluate(order, weights, update, batch)
    except Exception:
        return None


def _false_stage(
    job: Job, answers: Sequence[Evaluation], true: Evaluation, batch: int, size: int
) -> int | None:
    """The first stage whose word on a batch of `size` samples is false; None if all are true."""
    for number, channel in enumerate(job.channels):
        if not torch.equal(answers[channel.sender].log[batch, number], true.log[0, number]):
            return channel.sender
    own = slice(batch * size, batch * size + len(true.losses))
    last = answers[-1]
    told = replace(true, losses=last.losses[own], rows=last.rows[own])
    return None if is_equal(told, true) else len(answers) - 1
