"""What screen and cross-check of a round bring against whom: the grounds of its verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tdml.trust.advantage import own_advantage
from tdml.trust.evidence import CONFIRMATION, DOUBT, HARM, bears_out, tells, weigh
from tdml.trust.exam import Hearing
from tdml.trust.harm import judge_harm
from tdml.trust.screen import Screening

_NO_MEASURE = 1.0  # nats against a candidate in one round, from which on it sets none for the others


@dataclass(frozen=True)
class Finding:
    """What the cross-check of a round says of one candidate."""

    against: float = 0.0  # nats
    harmful: bool = False
    telling: bool = False  # whether the round tells who worked
    idle: bool = False  # whether its own advantage bears out what the screen found
    still: bool = False  # whether it has not learnt its own samples, though shares are skewed and most have
    texts: tuple[str, ...] = ()

    @property
    def exonerates(self) -> bool:
        """Whether its own advantage speaks for the candidate."""
        return self.against <= -CONFIRMATION

    @property
    def acquits(self) -> bool:
        """Whether it acquits of ranks and direction beyond all chance. Where a round tells, no work does: in a pipeline
        that of the other stages would acquit the one that lies."""
        return self.exonerates and not self.telling

    @property
    def size_tells(self) -> bool:
        """Whether a size beyond all chance convicts: where all is known, a rare sample decides an honest update."""
        return self.telling or self.harmful


_NOTHING = Finding()


@dataclass(frozen=True)
class Grounds:
    """What screen and cross-check of a round bring against whom, by row."""

    findings: Mapping[int, Finding]
    suspects: set[int]
    outliers: set[int]  # guilty by the screen, unless half are: then they are what is usual
    certain: set[int]  # the screen alone convicts them
    borne_out: set[int]  # accused, and their own advantage agrees
    convicted: set[int]

    def finding(self, row: int) -> Finding:
        """What the cross-check says of a row; of one that it did not judge, nothing."""
        return self.findings.get(row, _NOTHING)

    def discounts(self, row: int) -> bool:
        """Whether an update does not count: the screen finds it guilty and its own advantage does not speak for it, or
        it has not learnt."""
        return (row in self.outliers and not self.finding(row).exonerates) or self.finding(row).still

    def texts(self, row: int) -> list[str]:
        """What the cross-check says of a row, and who convicts it."""
        agreed = ["which bears out the screen"] if row in self.borne_out else []
        alone = ["the screen alone convicts"] if row in self.certain else []
        return [*self.finding(row).texts, *agreed, *alone]


def weigh_grounds(
    hearing: Hearing | None, screenings: Sequence[Screening], before: Sequence[float], alike: bool
) -> Grounds:
    """The grounds of a round.

    Args:
        hearing: its cross-check, if there was one.
        screenings: of the whole updates, and of each stage's.
        before: evidence of the rounds before, nats, by row.
        alike: whether the replicas' shares are drawn alike.
    """
    suspects = {row for found in screenings for row in found.suspects}
    equals = {group for found in screenings for group in found.equals}
    guilty = {row for found in screenings for row in found.guilty}
    findings = _weigh_all(hearing, guilty, equals, before, alike) if hearing is not None else {}
    certain = {row for found in screenings for row in found.certain}
    certain |= {row for found in screenings for row in found.vast if row not in findings or findings[row].size_tells}
    certain |= {row for found in screenings for row in found.apart if row not in findings or not findings[row].acquits}
    accused = guilty | {row for row in suspects if row in findings and findings[row].harmful}
    borne_out = {row for row in accused if row in findings and findings[row].idle}
    outliers = guilty if len(guilty) < len(before) / 2 else set()
    convicted = certain | borne_out | _copies(equals, findings)
    return Grounds(findings, suspects, outliers, certain, borne_out, convicted)


def _weigh_all(
    hearing: Hearing, guilty: set[int], equals: set[tuple[int, ...]], before: Sequence[float], alike: bool
) -> dict[int, Finding]:
    """What the hearing says of each candidate, by its row of the updates."""
    copies = {row for group in equals for row in group[1:]}
    trusted = _trusted(hearing.candidates, guilty | copies, before)
    weighed = weigh(own_advantage(hearing.exam, alike, trusted), alike)
    # Whoever this speaks against is no measure for the others either.
    trusted = _majority([i for i in trusted if weighed[i] < _NO_MEASURE], trusted, len(hearing.candidates))
    advantage = own_advantage(hearing.exam, alike, trusted)
    weighed = weigh(advantage, alike)
    telling, idle = tells(advantage), bears_out(advantage, alike)
    findings: dict[int, Finding] = {}
    still = ~advantage.learnt & (not alike)
    for i, (row, harm) in enumerate(zip(hearing.candidates, judge_harm(hearing.exam, trusted), strict=True)):
        own = f"own advantage {float(advantage.t[i]):+.1f} where {float(advantage.expected[i]):.1f} was expected"
        against = float(weighed[i]) + (HARM if harm.harmful and alike else 0.0)
        stuck = "has not learnt its own samples, while most others have" if still[i] else ""
        texts = tuple(filter(None, (own, stuck, harm.reason if harm.harmful else "")))
        findings[row] = Finding(against, harm.harmful, bool(telling[i]), bool(idle[i]), bool(still[i]), texts)
    return findings


def _trusted(candidates: Sequence[int], doubtful: set[int], before: Sequence[float]) -> list[int]:
    """The rows of the exam whose candidates may set the measure; all of them where hardly any are above doubt."""
    sound = [i for i, row in enumerate(candidates) if row not in doubtful and before[row] < DOUBT]
    return _majority(sound, list(range(len(candidates))), len(candidates))


def _majority(chosen: list[int], otherwise: list[int], candidates: int) -> list[int]:
    """The chosen, if they are most of the candidates and enough to be a measure."""
    return chosen if len(chosen) > max(candidates // 2, 2) else otherwise


def _copies(groups: set[tuple[int, ...]], findings: Mapping[int, Finding]) -> set[int]:
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
