"""The verdict on each replica and each node of a round, from all the evidence."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from tdml.trust.audit import LIED, UNSETTLED, Outcome
from tdml.trust.blame import Blame, all_of, contradiction
from tdml.trust.evidence import CONVICTION, SUSPICION, influence
from tdml.trust.exam import Hearing
from tdml.trust.grounds import Grounds, weigh_grounds
from tdml.trust.screen import LEAST_REPLICAS, Screening

_DOUBTFUL = 2 / 3  # of the evidence that convicts
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
    erratic: tuple[int, ...] = ()  # stages whose own repetitions of their work differ
    judges: tuple[int, ...] = ()  # who evaluated it in the cross-check
    unusable: bool = False  # what it handed in cannot be averaged
    excused: bool = False  # because of the samples that it was given

    def __post_init__(self) -> None:
        assert self.influence or self.status != HONEST, "what does not count is never shown as honest"

    @property
    def doubted(self) -> bool:
        """Whether it is a reason to audit all of its work."""
        return self.status != HONEST and not self.excused

    @property
    def accepted(self) -> bool:
        """Whether its update goes into the average."""
        return self.influence > 0


def refuse(faults: Mapping[int, str]) -> Verdict:
    """On a replica some of whose stages handed in what no honest steps lead to.

    Args:
        faults: stage → what is wrong with it.
    """
    return Verdict(MALICIOUS, _said(faults), tuple(sorted(faults)), CONVICTION, influence=0.0, unusable=True)


def leave_out(faults: Mapping[int, str], samples: str, common: bool, evidence: float) -> Verdict:
    """On a replica whose update is not finite, and that is all that is wrong with it.

    It does not count, but honest steps may lead there: on samples that are not finite themselves, where training
    diverges, or on a share unlike the others'. So it is no proof; an audit finds out.

    Args:
        faults: stage → what is wrong with it.
        samples: which of those that it was assigned explain it, and how; "" if none do.
        common: whether training diverges for most.
        evidence: nats that earlier rounds have left.
    """
    cause = f", for {samples}" if samples else ""
    if common and not samples:
        cause = ", as most others' have: training diverges (see train.lr)"
    return Verdict(
        SUSPICIOUS, _said(faults) + cause, evidence=evidence, influence=0.0, unusable=True, excused=bool(samples)
    )


def _said(faults: Mapping[int, str]) -> str:
    return "; ".join(f"stage {stage}: {fault}" for stage, fault in sorted(faults.items()))


def decide(
    hearing: Hearing | None, overall: Screening, by_stage: Sequence[Screening], before: Sequence[float], alike: bool,
    conviction: float = CONVICTION, suspected_before: Sequence[Collection[int]] | None = None,
) -> list[Verdict]:  # fmt: skip
    """The verdicts on all replicas that handed in an update, by row.

    Malicious: certainly guilty by the screen, as a whole or at one stage, which its size is only where there is
    something to learn, and its ranks and direction are unless little is and its own advantage speaks for it; guilty by
    it, or suspected by it and harmful by the cross-check, where its own advantage bears that out; a copy, but for the
    one of a group of equals that knows its samples best; or with evidence of `conviction` nats or more, unless there
    are but two, of whom one word stands against one. The nodes to blame are those that the screen finds guilty, else
    those that it suspects now and suspected before, else all of the replica: the cross-check cannot tell its nodes
    apart.
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
    grounds = weigh_grounds(hearing, (overall, *by_stage), before, alike)
    suspicions = suspected_before or [()] * len(before)
    verdicts = []
    for row, earlier in enumerate(before):
        finding = grounds.finding(row)
        perjury = hearing.perjurers.get(row, "") if hearing is not None else ""
        lasting = max(0.0, earlier + finding.against)
        total = lasting + (SUSPICION if row in grounds.suspects else 0.0)
        status = _status(grounds, row, total / conviction, bool(perjury), len(before))
        evidence = f"evidence {total:.2f} of {conviction:.0f} nats"
        judged = "" if row in grounds.findings else "no cross-check in this round"
        texts = [*departures(row, overall, by_stage), *grounds.texts(row), perjury, judged, evidence]
        discounted = grounds.discounts(row) or (status == SUSPICIOUS and finding.harmful and alike)
        verdict = Verdict(
            status,
            "" if status == HONEST else "; ".join(filter(None, texts)),
            _to_blame(row, by_stage, suspicions[row]) if status == MALICIOUS else (),
            max(lasting, conviction) if status == MALICIOUS else lasting,
            finding.against,
            tuple(s for s, found in enumerate(by_stage) if row in found.suspects),
            0.0 if status == MALICIOUS or discounted else influence(lasting, conviction),
            judges=hearing.judges.get(row, ()) if hearing is not None else (),
        )
        # The last stage reports the losses: without records of what the others sent it, it is to blame.
        blame = hearing.blame.get(row, Blame((len(by_stage) - 1,))) if perjury else Blame()
        verdicts.append(_noting(verdict, blame))
    return verdicts


def _status(grounds: Grounds, row: int, proven: float, perjured: bool, replicas: int) -> str:
    """What a replica is held for, `proven` being the evidence as a share of what convicts."""
    if row in grounds.convicted or (proven >= 1 and replicas >= LEAST_REPLICAS):
        return MALICIOUS
    doubted = row in grounds.suspects or grounds.finding(row).still or perjured or proven >= _DOUBTFUL
    return SUSPICIOUS if doubted else HONEST


def after_audit(
    verdicts: Mapping[int, Verdict], outcomes: Mapping[int, Outcome], conviction: float = CONVICTION
) -> dict[int, Verdict]:
    """The verdicts as the audit leaves them, by replica.

    A proven lie convicts, and names the stages. A suspect is cleared, and the evidence against it forgotten, if all of
    its work was found again, but not of what its nodes did as validators; its update then counts. One that is not
    finite never does.
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
    verdict = replace(verdict, disputes=disputes, absent=outcome.absent, erratic=outcome.erratic)
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
    if verdict.unusable:
        return _noting(replace(verdict, reason=f"{reason}; all others find the same", evidence=0.0), perjury)
    cleared = Verdict(
        HONEST, verdict.reason if perjury != Blame() else "", against=verdict.against, suspected=verdict.suspected,
        judges=verdict.judges,
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


def departures(row: int, overall: Screening, by_stage: Sequence[Screening]) -> list[str]:
    """Why the screen suspects a replica: stage by stage, or as a whole where no stage stands out."""
    texts = [f"stage {s}: {found.reasons[row]}" for s, found in enumerate(by_stage) if row in found.suspects]
    return texts or ([overall.reasons[row]] if row in overall.reasons else [])


def _to_blame(row: int, by_stage: Sequence[Screening], suspected_before: Collection[int]) -> tuple[int, ...]:
    guilty = tuple(s for s, found in enumerate(by_stage) if row in found.guilty)
    again = tuple(s for s, found in enumerate(by_stage) if row in found.suspects and s in suspected_before)
    return guilty or again or tuple(range(len(by_stage)))
