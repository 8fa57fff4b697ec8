"""What the user should know of a run, once, beside what its rounds say."""

import re
from collections.abc import Iterable, Sequence

from torch.nn.modules.batchnorm import _BatchNorm

from tdml.data.faults import faults_of, in_words
from tdml.round.job import Job
from tdml.round.result import Round
from tdml.run.untaken import untaken
from tdml.settings.schema import Topology
from tdml.trust.judgement import UNCHECKED
from tdml.trust.numbers import TYPICAL

_MOST_NAMED = 5  # samples, of one reason: nobody can have many looked at
_BEYOND = re.compile(r"IndexError|out of (range|bounds)|device-side assert")
_NAMED = re.compile(r"training samples? [\d, ]+")
_UNREPEATABLE = (
    "some audits could not be settled: recomputation has confirmed neither side. If that happens "
    "again, steps of this job cannot be repeated, and nobody can be convicted by them: see "
    "docs/your-model.md"
)


def limits(job: Job) -> str:
    """What a run cannot prove, because of its settings or of too few replicas, in one line; "" if
    nothing."""
    trust = job.config.trust
    if not trust.enabled:
        return "trust.enabled=false: every update of the right form is averaged, whoever sent it"
    if job.config.own_data:
        return (
            f"data.partition=own: {UNCHECKED}: nothing is audited, so nobody is banned but for "
            "messages that no honest node sends, and no update counts more than "
            f"{TYPICAL:g} times the median"
        )
    if not trust.budget:
        return (
            "trust.budget=0: nothing is audited, so nobody is banned but for messages that no "
            "honest node sends"
        )
    if job.problem:
        return f"trust.repeatable=warn: nothing is audited: {job.problem}"
    if job.config.topology.most == 1:
        return (
            "1 replica: nobody can repeat its work but the coordinator, which looks at single steps"
        )
    return ""


def of_model(job: Job, asked: Topology) -> list[str]:
    """What the model's user should know before the first round.

    Args:
        asked: with `microbatches` as they are set.
    """
    notes = []
    if job.uncompared:
        notes.append(f"model: {job.uncompared}: whether blocks() leaves something out is not known")
    measured = asked.stages > 1 and asked.microbatches is None
    if measured and any(isinstance(module, _BatchNorm) for module in job.model.modules()):
        chosen = job.plan.microbatches // job.config.train.accumulate
        notes.append(
            f"model: its BatchNorm sees {job.plan.borders[0].shape[0]} samples at a time, as was "
            f"chosen for this machine: topology.microbatches={chosen} has it so on others"
        )
    return notes


def notices(job: Job, played: Round, losses: Iterable[str]) -> list[str]:
    """What a round has shown. Samples that nobody can train on are left out from then on.

    Args:
        losses: why replicas were lost in it, whatever they were doing.
    """
    unsettled = any(settled.unsettled for settled in played.settlements)
    reasons = [*losses, *(judgement.reason for judgement in played.judgements.values())]
    left_out = [] if job.config.own_data else _leave_out(job, played, reasons)
    return [*([_UNREPEATABLE] if unsettled else []), *left_out]


def _leave_out(job: Job, played: Round, reasons: Sequence[str]) -> list[str]:
    """The samples with which nodes say that they could not work, where that is so here, too: if one
    of those that they name is, all of its replica's round are looked at; and all, where they say
    that a number was beyond what the model has."""
    texts = (text for reason in reasons for text in _NAMED.findall(reason)[:_MOST_NAMED])
    named = {
        int(number) for text in texts for number in re.findall(r"\d{1,18}", text)[:_MOST_NAMED]
    }
    notes = []
    for index, judgement in played.judgements.items():
        beyond = _BEYOND.search(judgement.reason)
        if not (named or beyond):
            continue
        batches = job.batches(index, played.number)[: played.steps[index]]
        seeds = [job.augmentation(played.number, index, s) for s in range(len(batches))]
        steps = [s for s, batch in enumerate(batches.tolist()) if named & {*batch}]
        faults = faults_of(job.source, batches[steps], [seeds[s] for s in steps])
        if faults:
            faults |= faults_of(job.source, batches, seeds)
        elif beyond:
            faults = untaken(job, batches, seeds)
        for sample in faults:
            job.left_out.since.setdefault(sample, played.number)
        if faults:
            count = "1 sample is" if len(faults) == 1 else f"{len(faults)} samples are"
            notes.append(f"data: {in_words(job.source, faults)}: {count} left out from now on")
    return notes
