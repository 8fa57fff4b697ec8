"""What a round has shown of each replica, as the judgement takes it."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tdml.data.faults import faults_of, in_words
from tdml.round.audits import Audits
from tdml.round.cross_check import Checked
from tdml.round.gather import Gathered
from tdml.round.job import Job
from tdml.trust.judgement import UNCHECKED, Evidence, Proof
from tdml.trust.screen import Screening


@dataclass(frozen=True)
class Findings:
    """What a round has shown of its updates."""

    gathered: Gathered
    screening: Screening
    checked: Checked
    audits: Audits


def evidence_of(
    job: Job,
    findings: Findings,
    proofs: Sequence[Proof],
    samples: Mapping[int, str],
    index: int,
) -> Evidence:
    """The evidence on one replica that has handed something in.

    Args:
        proofs: all of the round's.
        samples: as `explaining_samples` gives them.
    """
    gathered, screening = findings.gathered, findings.screening
    names = gathered.names[index]
    audited = findings.audits.of(index)
    all_clean = job.audits and audited.all_clean(window_steps(job, gathered, index))
    evidence = Evidence(
        names,
        job.samples(gathered.start.steps[index]),
        fault=_fault(gathered, samples, index),
        audited=audited,
        verified=all_clean and index not in gathered.start.unverified_inner,
        proof=_proof_against(names, proofs),
        work=findings.checked.works.get(index),
        unchecked=UNCHECKED if job.config.own_data else "",
    )
    if index not in gathered.replicas or not job.config.trust.enabled:
        return evidence

    screen_reason = screening.reasons.get(index, "")
    if screen_reason and all_clean and not evidence.verified:
        screen_reason += ", from what an optimizer was left with, which nobody has found"
    return replace(
        evidence,
        size=gathered.sizes[index],
        stretch=_stretch(job, gathered, index),
        distance=screening.distances[index],
        screen_reason=screen_reason,
        all_steps=takes_all_steps(job, gathered, index),
    )


def comparable(job: Job, gathered: Gathered) -> list[int]:
    """The replicas whose updates statistics can compare: those that take all of their steps."""
    return [index for index in gathered.replicas if takes_all_steps(job, gathered, index)]


def takes_all_steps(job: Job, gathered: Gathered, index: int) -> bool:
    """Whether a replica takes all of its steps. An honest update of fewer steps is smaller, points
    elsewhere, and has learnt less."""
    return gathered.start.steps[index] == job.steps[index]


def window_steps(job: Job, gathered: Gathered, index: int) -> tuple[int, ...]:
    """How many steps each window of a replica's round has."""
    bounds = job.window_bounds(gathered.start.steps[index])
    return tuple(b - a for a, b in itertools.pairwise(bounds))


def path_length(steps: int, momentum: float) -> float:
    """How far some steps of SGD lead if all gradients are equal, in units of learning rate times
    gradient."""
    velocity = distance = 0.0
    for _ in range(steps):
        velocity = momentum * velocity + 1
        distance += velocity
    return distance


def _proof_against(names: Sequence[str], proofs: Sequence[Proof]) -> Proof | None:
    """All proofs against some of these nodes, in one; None if there are none."""
    own = [proof for proof in proofs if set(proof.nodes) & set(names)]
    nodes = tuple(dict.fromkeys(name for proof in own for name in proof.nodes if name in names))
    reason = "; ".join(dict.fromkeys(proof.reason for proof in own))
    return Proof(nodes, reason) if nodes else None


def _stretch(job: Job, gathered: Gathered, index: int) -> float:
    """How many times as far the steps of a replica may lead as those of most: a replica with more
    data takes more steps."""
    steps, momentum = gathered.start.steps, job.config.train.momentum
    others = comparable(job, gathered) or gathered.auditable
    usual = statistics.median_low([steps[other] for other in others])
    return max(1.0, path_length(steps[index], momentum) / path_length(usual, momentum))


def explaining_samples(job: Job, gathered: Gathered) -> dict[int, str]:
    """Training samples that explain why updates are not finite, in words, by replica.

    Where nothing explains one of them, and most are as it is, training diverges: nobody else's
    samples are read then.
    """
    explained: dict[int, str] = {}
    if job.config.own_data:
        return explained  # the samples are not here

    number = gathered.start.number
    for index in sorted(gathered.diverged):
        batches = job.batches(index, number)[: gathered.start.steps[index]]
        seeds = [job.augmentation(number, index, step) for step in range(len(batches))]
        if samples := in_words(job.source, faults_of(job.source, batches, seeds)):
            explained[index] = samples
        elif _diverges(gathered, explained):
            break
    return explained


def _diverges(gathered: Gathered, explained: Mapping[int, str]) -> bool:
    """Whether most updates are not finite, without samples that explain it."""
    return 2 * len(gathered.diverged - explained.keys()) > len(gathered.names)


def _fault(gathered: Gathered, explained: Mapping[int, str], index: int) -> str:
    """Why an update cannot be averaged, and which samples explain it."""
    if index not in gathered.faults:
        return ""
    fault = "; ".join(
        f"stage {stage}: {text}" for stage, text in sorted(gathered.faults[index].items())
    )
    if index in explained:
        return f"{fault}, for {explained[index]}"
    if index in gathered.diverged and _diverges(gathered, explained):
        return f"{fault}, as most others' have: training diverges (see train.lr)"
    return fault
