"""The defences that are compared, all behind one interface: from a round's updates to an aggregate and accusations."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from tdml.bench.audits import audit
from tdml.bench.byzfl_rules import RULES, Rule, make_rule
from tdml.bench.court import Round, cross_check
from tdml.bench.federation import Federation
from tdml.cluster.messages import Seat
from tdml.cluster.topology import node_names, seat_name
from tdml.trust.aggregate import combine, weighted_mean
from tdml.trust.audit import LIED
from tdml.trust.cross_check import CheckPlan, Purse, allowance, plan_checks
from tdml.trust.memory import Memory
from tdml.trust.screen import Screening, screen_stages
from tdml.trust.verdict import HONEST, MALICIOUS, SUSPICIOUS, Verdict, after_audit


@dataclass(frozen=True)
class Outcome:
    """What a defence makes of a round: the aggregate by stage, and the replicas that it accuses, bans (for the rest of
    the run) and suspects. `nodes`: replica → the stages to blame; `reasons`: replica → why."""

    aggregate: list[torch.Tensor]
    accused: frozenset[int] = frozenset()
    banned: frozenset[int] = frozenset()
    suspicious: frozenset[int] = frozenset()
    nodes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    reasons: Mapping[int, str] = field(default_factory=dict)


class Defence:
    """Made afresh for every run. `strict`: updates with values that are not finite are refused before it sees them."""

    strict = True
    accuses = True

    def __init__(self, federation: Federation, byzantine: int) -> None:
        """`byzantine` is the true number of attackers, for the rules that must be told."""

    def judge(self, found: Round) -> Outcome:
        """One round."""
        raise NotImplementedError

    def refutes(self, found: Round, replica: int) -> bool:
        """Whether it proves that an update which is not finite is not what the assigned steps lead to."""
        return False


class Mean(Defence):
    """No defence: the mean of all that has the right shape."""

    strict = accuses = False

    def judge(self, found: Round) -> Outcome:
        return Outcome([weighted_mean(updates, found.samples) for updates in found.stages])


class Mandera(Defence):
    """MANDERA as published; the mean of those whom it does not accuse."""

    def judge(self, found: Round) -> Outcome:
        from tdml.trust.mandera import mandera

        accused = set(mandera(torch.cat(found.stages, dim=1)).suspects) if len(found.replicas) > 2 else set()
        return Outcome(_mean_without(found, accused), frozenset(found.replicas[row] for row in accused))


class Screen(Defence):
    """The screen alone; the mean of those whom it does not suspect."""

    def judge(self, found: Round) -> Outcome:
        overall, by_stage = _screened(found)
        suspects = {row for part in (overall, *by_stage) for row in part.suspects}
        return Outcome(
            _mean_without(found, suspects),
            accused=frozenset(found.replicas[row] for row in suspects),
            nodes={
                found.replicas[row]: tuple(s for s, part in enumerate(by_stage) if row in part.suspects)
                for row in suspects
            },
            reasons={found.replicas[row]: reason for row, reason in overall.reasons.items()},
        )


class Full(Defence):
    """All of TDML's, with everyone judged in every round on as many samples as there are."""

    def __init__(self, federation: Federation, byzantine: int) -> None:
        names = node_names(federation.config.topology)
        self._memory = Memory(dict(zip(names, names, strict=True)))  # nobody has a key here

    def judge(self, found: Round) -> Outcome:
        overall, by_stage = _screened(found)
        suspects = frozenset(row for part in (overall, *by_stage) for row in part.suspects)
        job, conviction = found.federation.job, found.federation.config.trust.conviction
        nodes = [[seat_name(Seat(replica, stage)) for stage in range(len(by_stage))] for replica in found.replicas]
        decided = partial(
            self._memory.decide, replicas=nodes, overall=overall, by_stage=by_stage, alike=job.alike,
            conviction=conviction,
        )  # fmt: skip
        plan = self.plan(found, [found.replicas[row] for row in sorted(suspects)])
        verdicts = decided(cross_check(found, plan, suspects, decided) if plan is not None else None)
        verdicts = self.audited(found, verdicts)
        return _outcome(found, self._memory.conclude(found.number, nodes, verdicts, conviction))

    def plan(self, found: Round, suspects: Sequence[int]) -> CheckPlan | None:
        """Who judges whom in this round."""
        return plan_checks(found.replicas, suspects, *_limits(found), math.inf, found.generator())

    def audited(self, found: Round, verdicts: list[Verdict]) -> list[Verdict]:
        """The verdicts, by row, as audits leave them: here there are none."""
        return verdicts


class Budgeted(Full):
    """All of TDML's, within `trust.budget`."""

    def __init__(self, federation: Federation, byzantine: int) -> None:
        super().__init__(federation, byzantine)
        self._purse = Purse()

    def plan(self, found: Round, suspects: Sequence[int]) -> CheckPlan | None:
        earned = allowance(sum(found.samples), found.federation.config.trust.budget)
        return self._purse.plan(earned, found.replicas, suspects, *_limits(found), found.generator())


class Audited(Budgeted):
    """All of TDML's, as the cluster has it: within `trust.budget`, and with audits at `trust.audit_rate`."""

    def audited(self, found: Round, verdicts: list[Verdict]) -> list[Verdict]:
        named = dict(zip(found.replicas, verdicts, strict=True))
        job = found.federation.job
        outcomes = audit(found, [replica for replica, verdict in named.items() if verdict.status != HONEST])
        final = after_audit(named, outcomes, job.config.trust.conviction)
        return [final[replica] for replica in found.replicas]

    def refutes(self, found: Round, replica: int) -> bool:
        outcomes = audit(found, [replica])
        return replica in outcomes and outcomes[replica].result == LIED


class Robust(Defence):
    """One of ByzFL's rules on the whole updates. It averages robustly, told the true f, and accuses nobody."""

    accuses = False

    def __init__(self, federation: Federation, byzantine: int, rule: Rule) -> None:
        self._byzantine, self._rule, self._size = byzantine, rule, federation.config.topology.replicas

    def judge(self, found: Round) -> Outcome:
        matrix = torch.cat(found.stages, dim=1)
        refused = self._size - len(matrix)
        byzantine = max(0, min(self._byzantine - refused, (len(matrix) - 1) // 2))
        return Outcome(list(self._rule(matrix, byzantine).split([updates.shape[1] for updates in found.stages])))


_OWN = {
    "none": Mean,
    "mandera": Mandera,
    "screen": Screen,
    "tdml": Full,
    "tdml-budget": Budgeted,
    "tdml-audits": Audited,
}
NAMES = (*_OWN, *RULES)


def make_defence(name: str, federation: Federation, byzantine: int) -> Defence:
    """One of `NAMES`, for one run.

    Raises:
        SettingError: it needs ByzFL, which is missing.
    """
    if name in _OWN:
        return _OWN[name](federation, byzantine)
    return Robust(federation, byzantine, make_rule(name))


def _limits(found: Round) -> tuple[int, int, int]:
    """Validators per candidate, samples that every replica was assigned, and samples that are held out."""
    job = found.federation.job
    distinct = job.distinct(found.number, found.replicas)
    return job.config.trust.validators, distinct, job.source.size("validation")


def _screened(found: Round) -> tuple[Screening, tuple[Screening, ...]]:
    job = found.federation.job
    return screen_stages(found.stages, job.thresholds, job.parameters)


def _mean_without(found: Round, rows: set[int]) -> list[torch.Tensor]:
    """The mean weighted by samples; zero if nobody is left."""
    kept = [row for row in range(len(found.replicas)) if row not in rows]
    if not kept:
        return [updates.new_zeros(updates.shape[1]) for updates in found.stages]
    samples = found.samples
    return [weighted_mean(updates[kept], [samples[row] for row in kept]) for updates in found.stages]


def _outcome(found: Round, verdicts: Sequence[Verdict]) -> Outcome:
    named = dict(zip(found.replicas, verdicts, strict=True))
    weights = [size * verdict.influence for size, verdict in zip(found.samples, verdicts, strict=True)]
    malicious = frozenset(replica for replica, verdict in named.items() if verdict.status == MALICIOUS)
    return Outcome(
        combine(found.stages, weights, found.federation.job.parameters),
        accused=malicious,
        banned=malicious,
        suspicious=frozenset(replica for replica, verdict in named.items() if verdict.status == SUSPICIOUS),
        nodes={replica: named[replica].stages for replica in malicious},
        reasons={replica: verdict.reason for replica, verdict in named.items() if verdict.reason},
    )
