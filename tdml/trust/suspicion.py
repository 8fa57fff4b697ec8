"""Whom to look at: suspicion over the rounds, and what a round's budget is spent on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from tdml.trust.numbers import ALPHA, LIMIT, SCREEN_WEIGHT
from tdml.trust.work import WorkResult


@dataclass
class Suspicion:
    """By node: the sum of what screen and work test have said of its replicas, less what was found
    clean since. So each has its turn, the sooner the more suspicious it looks, whoever is new."""

    by_node: dict[str, float] = field(default_factory=dict)

    def add(self, nodes: Sequence[str], distance: float, work: WorkResult | None) -> float:
        """A round's share, S ← S + w + ½·min(distance/limit, 1); the most that it leads to.

        w rises from 0 for who was seen working, to 1 for who may as well have done nothing."""
        doubt = 0.0 if work is None else 1 - math.log(max(work.p, 1e-300)) / math.log(ALPHA)
        idle = min(1.0, max(0.0, doubt))
        share = idle + SCREEN_WEIGHT * min(distance / LIMIT, 1.0)
        self.by_node |= {name: self.by_node.get(name, 0.0) + share for name in nodes}
        return max(self.by_node[name] for name in nodes)

    def clear(self, nodes: Sequence[str], share: float) -> None:
        """That share of a round of theirs was repeated, or looked at, and found clean."""
        self.by_node |= {name: self.by_node[name] * (1 - share) for name in nodes}


@dataclass(frozen=True)
class Candidate:
    """A replica that can be audited: the steps of each of its windows, and how suspicious it is.
    `at_once`: all of its work is looked at, whatever that costs."""

    windows: tuple[int, ...]
    suspicion: float
    at_once: bool


@dataclass
class Purse:
    """Steps that may still be spent on suspects. If urgent audits overdraw it, later rounds pay
    that back, unless everything can be paid; a round's allowance is held in reserve for that.
    `steps` falls to minus one allowance, no lower: else a liar who pushes honest updates beyond the
    screen's limit, round after round, would exhaust what could be spent on auditing him."""

    steps: float = 0.0

    def choose(
        self,
        candidates: Mapping[int, Candidate],
        chance: float,
        allowance: float,
        draw: torch.Generator,
    ) -> tuple[dict[int, tuple[int, ...]], dict[int, tuple[int, ...]]]:
        """The windows to audit, by replica: all of them, and those among them that chance alone has
        chosen. For each at once one of the others', who may have made it stand out.

        Args:
            chance: that a window is audited, whoever's it is.
            allowance: steps that this round may spend on audits, those that chance chooses among
                them.
            draw: nobody can have foreseen it.
        """
        total = sum(sum(c.windows) for c in candidates.values())
        every = {i: range(len(c.windows)) for i, c in sorted(candidates.items())}
        drawn = {i: _draw(len(windows), chance, draw) for i, windows in every.items()}
        loud = [i for i, c in candidates.items() if c.at_once]
        chosen = {i: set(every[i] if i in loud else drawn[i]) for i in every}
        calm = [(i, w) for i, windows in every.items() for w in windows if i not in loud]
        shuffled = [calm[place] for place in torch.randperm(len(calm), generator=draw).tolist()]
        for index, window in shuffled[: len(loud)]:
            chosen[index].add(window)
        spent = sum(candidates[i].windows[w] for i, windows in chosen.items() for w in windows)
        if allowance >= total:
            self.steps = max(self.steps, 0.0)
        self.steps = max(self.steps + allowance - spent, -allowance)
        reserve = allowance if allowance < total else 0.0
        # of several who are as suspicious, such as both of two, chance decides
        anyhow = [*dict.fromkeys(index for index, _ in shuffled), *loud]
        for index in sorted(anyhow, key=lambda i: -candidates[i].suspicion):
            self._spend(candidates[index], chosen[index], reserve, draw)
        kept = {i: tuple(sorted(windows)) for i, windows in chosen.items() if windows}
        return kept, {index: windows for index, windows in drawn.items() if windows}

    def _spend(
        self, candidate: Candidate, chosen: set[int], reserve: float, draw: torch.Generator
    ) -> None:
        for window in torch.randperm(len(candidate.windows), generator=draw).tolist():
            if window not in chosen and self.steps >= candidate.windows[window] + reserve:
                chosen.add(window)
                self.steps -= candidate.windows[window]


def _draw(windows: int, rate: float, draw: torch.Generator) -> tuple[int, ...]:
    """Each window with the same chance, independent of all others."""
    drawn = torch.rand(windows, generator=draw, dtype=torch.float64)
    return tuple((drawn < rate).nonzero().view(-1).tolist())
