"""False reports: an evaluation is work like any other, and the coordinator takes one batch of it
itself."""

from collections.abc import Sequence

import torch

from tdml.common.seeds import derive
from tdml.data import pieces
from tdml.node.agreement import evaluated
from tdml.round.audit import Auditor
from tdml.round.check import Checked, hand_over
from tdml.round.fleet import Fleet, Replica, ReplicaLost
from tdml.round.gather import Gathered, NotShown, fetch_vector, updates_of
from tdml.round.openings import broken_agreements, is_log
from tdml.round.orders import UPDATE, EvaluateOrder, Evaluation
from tdml.round.recompute import Referee
from tdml.run.job import Job
from tdml.trust.judgement import Proof
from tdml.trust.numbers import AGAIN


def false_reports(
    job: Job,
    auditor: Auditor,
    fleet: Fleet,
    gathered: Gathered,
    checked: Checked,
    weights: Sequence[torch.Tensor],
    secret: int,
) -> list[Proof]:
    """The nodes whose part in one report of the round's cross-check is false.

    One batch of one report, which nobody can foresee, is evaluated again. Where the coordinator
    finds something else, another replica must find the same as it does, and both again and again:
    code may keep something where nobody looks. Nothing follows where the machines are of different
    kinds: their logs are not the same.
    """
    referee = auditor.settler.referee
    if not checked.reports:
        return []
    draw = torch.Generator().manual_seed(derive(secret, "reports"))
    report = checked.reports[int(torch.randint(len(checked.reports), (), generator=draw))]
    with_it = int(torch.randint(2, (), generator=draw))
    order, answers = report.asked[with_it], (report.before, report.after)[with_it]
    [validator] = fleet.placed([report.validator])
    count = -(-pieces.count(order.pieces) // referee.batch_size)
    repeats = validator.kind not in auditor.settler.unrepeatable
    if validator.kind != referee.kind or not repeats or not count:
        return []
    if proofs := _false_logs(job, auditor, fleet, validator, order, answers, count):
        return proofs
    batch = int(torch.randint(count, (), generator=draw))
    update = _update(job, fleet, gathered, order.candidate)
    true = None if update is None else _truth(referee, order, weights, update, batch)
    if update is None or true is None:  # its own audit judges that
        return []
    stage = _false_stage(job, answers, true, batch, referee.batch_size)
    if stage is None or not referee.insists_on_evaluation(
        order, weights, update, batch, true, AGAIN
    ):
        return []

    def confirms(other: Replica) -> bool:
        """Whether it finds the same as the coordinator, every time that it is asked."""
        told = _ask(job, fleet, gathered, order, other)
        return bool(told) and all(
            all(is_log(answer.log, count, job.channels, s) for s, answer in enumerate(answers))
            and _false_stage(job, answers, true, batch, referee.batch_size) is None
            for answers in told
        )

    others = fleet.ready(index for index in gathered.replicas if index != validator.index)
    text = (
        f"stage {stage} reports what recomputation does not find of an evaluation of replica "
        f"{report.candidate}"
    )
    sure = any(confirms(other) for other in others if other.kind == referee.kind)
    return [Proof((validator.names[stage],), text)] if sure else []


def _ask(
    job: Job, fleet: Fleet, gathered: Gathered, order: EvaluateOrder, other: Replica
) -> list[list[Evaluation]]:
    """What another replica finds, again and again; nothing if it does not answer."""

    def ask(other: Replica) -> list[list[Evaluation]]:
        if order.candidate is not None:
            [owner] = fleet.placed([order.candidate])
            hand_over(job, gathered, owner, other)
        return [other.evaluate(order, columns=0) for _ in range(AGAIN)]

    return fleet.each(ask, [other]).get(other.index, [])


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
    keys = [fleet.key(name) for name in validator.names]
    return broken_agreements(
        job,
        auditor.job_id,
        validator.index,
        evaluated(order),
        validator.names,
        keys,
        [answer.log for answer in answers],
        [answer.signatures for answer in answers],
    )


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
            fetch_vector(owner, UPDATE, stage, job.layouts[stage].size, content)
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
    told = answers[-1].losses[batch * size : batch * size + len(true.losses)]
    return None if torch.equal(told, true.losses) else len(answers) - 1
