"""The verdict on each replica and each node of a round, from all the evidence."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from tdml.trust.advantage import own_advantage
from tdml.trust.audit import LIED, UNSETTLED, Outcome
from tdml.trust.blame import Blame, all_of, contradiction
from tdml.trust.evidence import CONVICTION, DOUBT, HARM, SUSPICION, bears_out, influence, weigh
from tdml.trust.exam import Hearing
from tdml.trust.harm import judge_harm
from tdml.trust.screen import LEAST_REPLICAS, Screening

_NO_MEASURE = 1.0  # nats against a candidate in one round, from which on it sets none for the others
HONEST, SUSPICIOUS, MALICIOUS = "honest", "suspicious", "malicious"


@dataclass(frozen=True)
class Verdict:
    """On one replica. `stages` are those of its nodes that are to blame, empty unless it is malicious."""

    status: str
    reason: str = ""
    stages: tuple[int, ...] = ()
    evidence: float = 0.0  # nats, over all rounds: see `tdml.trust.evidence`
    against: float = 0.0  # what the cross-check of this round added
    suspected: tuple[int, ...] = ()  # stages that the screen suspects in this round
    influence: float = 1.0  # what its update counts in the average, 0 to 1

    perjured: tuple[int, ...] = ()  # stages that lied as validators in this round
    disputes: tuple[tuple[int, int], ...] = ()  # stages that contradict each other, by pairs: one of each pair lied
    absent: tuple[int, ...] = ()  # stages that were gone when they had to show their work
    judges: tuple[int, ...] = ()  # who evaluated it in the cross-check
    unusable: bool = False  # what it handed in cannot be averaged

    @property
    def accepted(self) -> bool:
        """Whether its update goes into the average."""
        return self.influence > 0


def refuse(faults: Mapping[int, str]) -> Verdict:
    """On a replica some of whose stages handed in what cannot be an update: stage → what is wrong with it."""
    reason = "; ".join(f"stage {stage}: {fault}" for stage, fault in sorted(faults.items()))
    return Verdict(MALICIOUS, reason, tuple(sorted(faults)), CONVICTION, influence=0.0, unusable=True)


def decide(
    hearing: Hearing | None, overall: Screening, by_stage: Sequence[Screening], before: Sequence[float], alike: bool,
    conviction: float = CONVICTION, suspected_before: Sequence[Collection[int]] | None = None,
) -> list[Verdict]:  # fmt: skip
    """The verdicts on all replicas that handed in an update, by row.

    Malicious: certainly guilty by the screen, as a whole or at one stage; guilty by it, or suspected by it and harmful
    by the cross-check, where its own advantage bears that out; a copy, but for the one of a group of equals that knows
    its samples best; or with evidence of `conviction` nats or more, unless there are but two, of whom one word stands
    against one. The nodes to blame are those that the screen finds guilty, else those that it suspects now and
    suspected before, else all of the replica: the cross-check cannot tell its nodes apart.
    Suspicious: suspected by the screen, with two thirds of that evidence, or with a node that lied as a validator. What
    follows from that for the node is for `tdml.trust.sentence` to say. With skewed shares also who has not learnt its
    own samples while most others have, and its update does not count.
    An update that the screen finds guilty counts only if its own advantage speaks for it, unless half are guilty; a
    suspicious one that is harmful does not, where shares are alike.

    Args:
        hearing: the cross-check of the round, if there was one.
        before: evidence of the rounds before, by row.
        alike: whether the replicas' shares are drawn alike.
        suspected_before: by row, the stages that the screen suspected in earlier rounds.
    """
    grounds = _weigh_grounds(hearing, (overall, *by_stage), before, alike)
    earlier_suspicions = suspected_before or [()] * len(before)
    verdicts = []
    for row, earlier in enumerate(before):
        finding = grounds.findings.get(row, _NOTHING)
        perjury = hearing.perjurers.get(row, "") if hearing is not None else ""
        lasting = max(0.0, earlier + finding.against)
        total = lasting + (SUSPICION if row in grounds.suspects else 0.0)
        if row in grounds.convicted or (total >= conviction and len(before) >= LEAST_REPLICAS):
            status, lasting = MALICIOUS, max(lasting, conviction)
        else:
            doubted = row in grounds.suspects or finding.still or perjury or total >= conviction * 2 / 3
            status = SUSPICIOUS if doubted else HONEST
        judged = "" if row in grounds.findings else "no cross-check in this round"
        evidence = f"evidence {total:.2f} of {conviction:.0f} nats"
        texts = [*departures(row, overall, by_stage), *grounds.texts(row), perjury, judged, evidence]
        discounted = row in grounds.outliers and finding.against >= 0
        discounted |= finding.still or (status == SUSPICIOUS and finding.harmful and alike)
        verdict = Verdict(
            status,
            "" if status == HONEST else "; ".join(filter(None, texts)),
            _to_blame(row, by_stage, earlier_suspicions[row]) if status == MALICIOUS else (),
            lasting,
            finding.against,
            tuple(s for s, found in enumerate(by_stage) if row in found.suspects),
            0.0 if status == MALICIOUS or discounted else influence(lasting, conviction),
            judges=hearing.judges.get(row, ()) if hearing is not None else (),
        )
        # The last stage reports the losses: without records of what the others sent it, it is to blame.
        blame = hearing.blame.get(row, Blame((len(by_stage) - 1,))) if perjury else Blame()
        verdicts.append(_noting(verdict, blame))
    return verdicts


def after_audit(
    verdicts: Mapping[int, Verdict], outcomes: Mapping[int, Outcome], conviction: float = CONVICTION
) -> dict[int, Verdict]:
    """The verdicts as the audit leaves them, by replica.

    A proven lie convicts, and names the stages. A suspect is cleared, and the evidence against it forgotten, if all of
    its work was found again, but not of what its nodes did as validators; its update then counts, if it is finite.
    Where the audit could not settle it, the update does not count, and the replica is suspicious, or stays convicted. A
    validator whom most others contradict is held to have lied.
    """
    rulings = [r for outcome in outcomes.values() for r in outcome.rulings.values()]
    final = {}
    for index, verdict in verdicts.items():
        outcome = outcomes.get(index)
        final[index] = _heard(verdict, outcome, conviction) if outcome is not None else verdict
        found = [ruling.dissenters[index] for ruling in rulings if index in ruling.dissenters]
        if found:
            reason = "; ".join(filter(None, ["audit: most others contradict what it found", final[index].reason]))
            final[index] = _noting(replace(final[index], reason=reason), all_of(found))
    return final


def _heard(verdict: Verdict, outcome: Outcome, conviction: float) -> Verdict:
    """On a replica that was audited."""
    reason = "; ".join(filter(None, [outcome.reason, verdict.reason]))
    disputes = tuple(sorted({*verdict.disputes, *outcome.disputes}))
    verdict = replace(verdict, disputes=disputes, absent=outcome.absent)
    if outcome.result == LIED:
        evidence = max(verdict.evidence, conviction)
        return replace(
            verdict, status=MALICIOUS, reason=reason, stages=outcome.blamed, influence=0.0, evidence=evidence
        )
    if outcome.result == UNSETTLED:
        if verdict.status == MALICIOUS:  # whoever could spoil its audit would be acquitted by that
            return replace(verdict, reason=reason)
        return replace(verdict, status=SUSPICIOUS, reason=reason, influence=0.0)
    if not outcome.full:
        return verdict
    perjury = Blame(verdict.perjured, verdict.disputes)
    cleared = Verdict(
        HONEST, verdict.reason if perjury != Blame() else "", suspected=verdict.suspected, judges=verdict.judges,
        influence=0.0 if verdict.unusable else 1.0, unusable=verdict.unusable,
    )  # fmt: skip
    return _noting(cleared, perjury)


def _noting(verdict: Verdict, perjury: Blame) -> Verdict:
    """With the lies that its nodes told as validators."""
    stages = tuple(sorted({*verdict.perjured, *perjury.stages}))
    disputes = tuple(sorted({*verdict.disputes, *perjury.disputes}))
    if not (stages or disputes):
        return verdict
    texts = [verdict.reason, *(contradiction(pair) for pair in perjury.disputes)]
    reason = "; ".join(dict.fromkeys(filter(None, texts)))
    status = SUSPICIOUS if verdict.status == HONEST else verdict.status
    worth = 0.0 if disputes else verdict.influence
    return replace(
        verdict, status=status, reason=reason, perjured=stages, disputes=disputes, influence=worth
    )  # fmt: skip


@dataclass(frozen=True)
class _Finding:
    """What the cross-check of a round says of one candidate."""

    against: float = 0.0  # nats
    harmful: bool = False
    idle: bool = False  # whether its own advantage bears out what the screen found
    still: bool = False  # whether it has not learnt its own samples, though shares are skewed and most have
    texts: tuple[str, ...] = ()


_NOTHING = _Finding()


@dataclass(frozen=True)
class _Grounds:
    """What screen and cross-check of a round bring against whom, by row."""

    findings: Mapping[int, _Finding]
    suspects: set[int]
    outliers: set[int]  # guilty by the screen, unless half are: then they are what is usual
    certain: set[int]  # the screen alone convicts them
    borne_out: set[int]  # accused, and their own advantage agrees
    convicted: set[int]

    def texts(self, row: int) -> list[str]:
        """What the cross-check says of a row, and who convicts it."""
        agreed = ["which bears out the screen"] if row in self.borne_out else []
        alone = ["the screen alone convicts"] if row in self.certain else []
        return [*self.findings.get(row, _NOTHING).texts, *agreed, *alone]


def _weigh_grounds(
    hearing: Hearing | None, screenings: Sequence[Screening], before: Sequence[float], alike: bool
) -> _Grounds:
    suspects = {row for found in screenings for row in found.suspects}
    equals = {group for found in screenings for group in found.equals}
    guilty = {row for found in screenings for row in found.guilty}
    certain = {row for found in screenings for row in found.certain}
    findings = _weigh_all(hearing, guilty, equals, before, alike) if hearing is not None else {}
    accused = guilty | {row for row in suspects if row in findings and findings[row].harmful}
    borne_out = {row for row in accused if row in findings and findings[row].idle}
    outliers = guilty if len(guilty) < len(before) / 2 else set()
    convicted = certain | borne_out | _copies(equals, findings)
    return _Grounds(findings, suspects, outliers, certain, borne_out, convicted)


def _weigh_all(
    hearing: Hearing, guilty: set[int], equals: set[tuple[int, ...]], before: Sequence[float], alike: bool
) -> dict[int, _Finding]:
    """What the hearing says of each candidate, by its row of the updates."""
    copies = {row for group in equals for row in group[1:]}
    trusted = _trusted(hearing.candidates, guilty | copies, before)
    weighed = weigh(own_advantage(hearing.exam, alike, trusted), alike)
    # Whoever this speaks against is no measure for the others either.
    trusted = _majority([i for i in trusted if weighed[i] < _NO_MEASURE], trusted, len(hearing.candidates))
    advantage = own_advantage(hearing.exam, alike, trusted)
    weighed = weigh(advantage, alike)
    findings, idle, still = {}, bears_out(advantage, alike), ~advantage.learnt & (not alike)
    for i, (row, harm) in enumerate(zip(hearing.candidates, judge_harm(hearing.exam, trusted), strict=True)):
        own = f"own advantage {float(advantage.t[i]):+.1f} where {float(advantage.expected[i]):.1f} was expected"
        against = float(weighed[i]) + (HARM if harm.harmful and alike else 0.0)
        stuck = "has not learnt its own samples, while most others have" if still[i] else ""
        texts = tuple(filter(None, (own, stuck, harm.reason if harm.harmful else "")))
        findings[row] = _Finding(against, harm.harmful, bool(idle[i]), bool(still[i]), texts)
    return findings


def departures(row: int, overall: Screening, by_stage: Sequence[Screening]) -> list[str]:
    """Why the screen suspects a replica: stage by stage, or as a whole where no stage stands out."""
    texts = [f"stage {s}: {found.reasons[row]}" for s, found in enumerate(by_stage) if row in found.suspects]
    return texts or ([overall.reasons[row]] if row in overall.reasons else [])


def _to_blame(row: int, by_stage: Sequence[Screening], suspected_before: Collection[int]) -> tuple[int, ...]:
    guilty = tuple(s for s, found in enumerate(by_stage) if row in found.guilty)
    again = tuple(s for s, found in enumerate(by_stage) if row in found.suspects and s in suspected_before)
    return guilty or again or tuple(range(len(by_stage)))


def _trusted(candidates: Sequence[int], doubtful: set[int], before: Sequence[float]) -> list[int]:
    """The rows of the exam whose candidates may set the measure; all of them where hardly any are above doubt."""
    sound = [i for i, row in enumerate(candidates) if row not in doubtful and before[row] < DOUBT]
    return _majority(sound, list(range(len(candidates))), len(candidates))


def _majority(chosen: list[int], otherwise: list[int], candidates: int) -> list[int]:
    """The chosen, if they are most of the candidates and enough to be a measure."""
    return chosen if len(chosen) > max(candidates // 2, 2) else otherwise


def _copies(groups: set[tuple[int, ...]], findings: Mapping[int, _Finding]) -> set[int]:
    """Of each group of equals, once it was heard, those who know their samples less well than the best of them, by
    enough to tell the copy from the original; the best too if it does not know them as one who has worked."""
    found: set[int] = set()
    for group in groups:
        if all(row in findings for row in group):
            against = {row: findings[row].against for row in group}
            best = min(against.values())
            # Of few samples, or where little was learnt, nothing follows: evidence adds up over the rounds.
            found |= {row for row, nats in against.items() if nats - best >= DOUBT or nats >= DOUBT}
    return found
