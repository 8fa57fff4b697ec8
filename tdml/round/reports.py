"""False reports: an evaluation is work like any other, and the coordinator takes one batch of it
itself."""

from collections.abc import Sequence

import torch

from tdml.data import pieces
from tdml.job import Job
from tdml.node.agreement import evaluated
from tdml.round.audit import Auditor
from tdml.round.check import Checked
from tdml.round.fleet import Fleet, Replica, ReplicaLost
from tdml.round.gather import Gathered, NotShown, take, updates_of
from tdml.round.openings import broken_agreements, is_log
from tdml.round.orders import UPDATE, EvaluateOrder, Evaluation
from tdml.seeds import derive
from tdml.trust.judgement import Proof


def false_reports(
    job: Job, auditor: Auditor, fleet: Fleet, found: Gathered, checked: Checked,
    weights: Sequence[torch.Tensor],
    secret: int,
) -> list[Proof]:  # fmt: skip
    """The nodes whose part in one report of the round's cross-check is false.

    One batch of one report, which nobody can foresee, is evaluated again. Nothing follows where the
    machines are of different kinds: their logs are not the same.
    """
    referee = auditor.settler.referee
    if not checked.reports:
        return []
    draw = torch.Generator().manual_seed(derive(secret, "reports"))
    report = checked.reports[int(torch.randint(len(checked.reports), (), generator=draw))]
    candidate = report.candidate if bool(torch.randint(2, (), generator=draw)) else None
    answers = report.before if candidate is None else report.after
    [validator] = fleet.seated([report.validator])
    order = EvaluateOrder(report.round, report.question.pieces, candidate, check=True, log=True)
    count = -(-pieces.count(order.pieces) // referee.batch_size)
    if validator.kind != referee.kind or not count:
        return []
    if proofs := _false_logs(job, auditor, fleet, validator, order, answers, count):
        return proofs
    batch = int(torch.randint(count, (), generator=draw))
    try:
        true = _evaluate(auditor, fleet, found, order, weights, batch)
    except (NotShown, ReplicaLost):
        return []  # of the candidate's owner, whom its own audit judges
    stage = _false_stage(job, answers, true, batch, referee.batch_size)
    text = (
        f"stage {stage} reports what recomputation does not find of an evaluation of replica "
        f"{report.candidate}"
    )
    return [] if stage is None else [Proof((validator.names[stage],), text)]


def _false_logs(
    job: Job, auditor: Auditor, fleet: Fleet, validator: Replica, order: EvaluateOrder,
    answers: Sequence[Evaluation],
    count: int,
) -> list[Proof]:  # fmt: skip
    """The validator's nodes whose logs of `count` batches no honest node gives."""
    false = [
        stage for stage, answer in enumerate(answers)
        if not is_log(answer.log, count, job.channels) or len(answer.signatures) != len(answers)
    ]  # fmt: skip
    if false:
        return [
            Proof((validator.names[stage],), "its log of an evaluation has another form")
            for stage in false
        ]
    keys = [fleet.key(name) for name in validator.names]
    return broken_agreements(
        job, auditor.job_id, validator.index, evaluated(order), validator.names, keys,
        [answer.log for answer in answers], [answer.signatures for answer in answers],
    )  # fmt: skip


def _evaluate(
    auditor: Auditor,
    fleet: Fleet,
    found: Gathered,
    order: EvaluateOrder,
    weights: Sequence[torch.Tensor],
    batch: int,
) -> Evaluation:
    """One batch of an evaluation: its losses, and the log of it."""
    referee = auditor.settler.referee
    update = None
    if order.candidate is not None:
        [owner] = fleet.seated([order.candidate])
        update = [
            take(owner, UPDATE, stage, content)
            for stage, content in updates_of(found, owner.index).items()
        ]
    return referee.evaluate(order, weights, update, batch)


def _false_stage(
    job: Job, answers: Sequence[Evaluation], true: Evaluation, batch: int, size: int
) -> int | None:
    """The first stage whose word on a batch of `size` samples is false; None if all are true."""
    for number, channel in enumerate(job.channels):
        if not torch.equal(answers[channel.sender].log[batch, number], true.log[0, number]):
            return channel.sender
    told = answers[-1].losses[batch * size : batch * size + len(true.losses)]
    return None if torch.equal(told, true.losses) else len(answers) - 1
