"""What the user should know of a run, once, beside what its rounds say."""

import re
from collections.abc import Sequence

from tdml.data.left_out import unsound
from tdml.round.engine import Round
from tdml.run.job import Job

_UNREPEATABLE = (
    "some audits could not be settled: recomputation has confirmed neither side. If that happens "
    "again, steps of this job cannot be repeated, and nobody can be convicted by them: see "
    "docs/your-model.md"
)


def notices(job: Job, played: Round) -> list[str]:
    """What a round has shown. Samples that nobody can train on are left out from then on."""
    unsettled = any(settled.unsettled for settled in played.settlements)
    return [*([_UNREPEATABLE] if unsettled else []), *_leave_out(job, played)]


def _leave_out(job: Job, played: Round) -> list[str]:
    """The samples for which replicas say that they could not train, where that is so here, too."""
    told = []
    for index, made in {} if job.own else played.judgements.items():
        if said := re.search(r"training samples? \d+[^;]*", made.reason):
            batches = job.batches(index, played.number)[: played.steps[index]]
            seeds = [job.augmentation(played.number, index, step) for step in range(len(batches))]
            found = unsound(job.source, batches, seeds)
            job.left_out.since |= dict.fromkeys(found, played.number)
            told += [f"data: {said[0]}: {_count(found)} left out from now on"] if found else []
    return told


def _count(samples: Sequence[int]) -> str:
    return "1 sample is" if len(samples) == 1 else f"{len(samples)} samples are"
