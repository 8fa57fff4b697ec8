"""A round's audits in the laboratory: steps are taken again, and compared, as `tdml.cluster.audit` has it.

Honest replicas repeat each other bit for bit here, so their repetitions are made only once. Attackers confirm each
other where they are asked alone; as a minority they gain nothing where all are asked. What crosses the borders between
stages is not kept: whoever has a false state at the end of a window is named.
"""

from collections.abc import Collection

import torch

from tdml.bench.court import Round
from tdml.trust.audit import CLEAN, EXACT, LIED, UNSETTLED, Outcome, Ruling, choose_windows, conclude, relative_error

_LEAST_TO_CONVICT = 3  # replicas: of two, one word stands against another


def audit(found: Round, suspects: Collection[int]) -> dict[int, Outcome]:
    """The outcome for every replica that is audited: suspects in full, of the others a few windows drawn at random.

    Args:
        suspects: by the replicas' indices.
    """
    job = found.federation.job
    draw = torch.Generator().manual_seed(job.seed("audit", found.number))
    outcomes = {}
    for replica in found.replicas if job.windows and len(found.replicas) > 1 else []:
        count = len(job.edges(replica)) - 1
        drawn = choose_windows(job.config.trust.audit_rate, count, draw)
        others = [other for other in found.replicas if other != replica]
        order = torch.randperm(len(others), generator=draw).tolist()
        full = replica in suspects
        juries = {w: others if full else [others[order[w % len(others)]]] for w in (range(count) if full else drawn)}
        if juries:
            rulings = {window: _rule(found, replica, window, jury) for window, jury in juries.items()}
            outcomes[replica] = conclude(rulings, full, {})
    return outcomes


def _rule(found: Round, replica: int, window: int, jury: list[int]) -> Ruling:
    attacking = found.federation.attacking
    if len(jury) == 1 and replica in attacking and jury[0] in attacking:
        return Ruling(CLEAN, 0.0, EXACT, (jury[0],), jury[0])
    errors = _errors(found, replica, window)
    wrong = tuple(stage for stage, error in enumerate(errors) if error > EXACT)
    others = tuple(other for other in found.replicas if other != replica)
    validators, largest = others if wrong else tuple(jury), max(errors)
    if not wrong:
        return Ruling(CLEAN, largest, EXACT, validators, validators[0])
    if len(found.replicas) < _LEAST_TO_CONVICT:
        return Ruling(UNSETTLED, largest, EXACT, validators, validators[0])
    return Ruling(LIED, largest, EXACT, validators, validators[0], wrong)


def _errors(found: Round, replica: int, window: int) -> list[float]:
    """How far what a replica claims of a window's end is from what its steps lead to, by stage."""
    federation, row = found.federation, found.replicas.index(replica)
    states = federation.states[replica]
    repeated, last = federation.repeat(replica, found.number, window), window == len(states)
    start = states[window - 1].weights if window else federation.weights
    claimed = [updates[row] for updates in found.stages] if last else states[window].weights
    if last:
        start = [before - weights for before, weights in zip(start, federation.weights, strict=True)]
    return [
        max(map(relative_error, *(form.sections(flat) for flat in triple)))
        for form, *triple in zip(federation.job.states, start, claimed, repeated, strict=True)
    ]
