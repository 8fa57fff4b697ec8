"""Whom to audit: suspicion over the rounds, and what a round's budget is spent on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from tdml.trust.numbers import ALPHA, LIMIT, SCREEN_WEIGHT
from tdml.trust.work import WorkResult


@dataclass
class Suspicion:
    """By node, the sum of what screen and work test have said of its replicas, less what was found
    clean since. It grows for everybody, so each has its turn, new or not, and the sooner the more
    suspicious it looks."""

    by_node: dict[str, float] = field(default_factory=dict)

    def add(self, nodes: Sequence[str], distance: float, work: WorkResult | None) -> float:
        """Add a round: S ← S + w + ½·min(distance/limit, 1). Returns the largest S of these nodes.

        w is 0 for a replica that was seen working, and rises to 1 for one that may as well have
        done nothing."""
        doubt = 0.0 if work is None else 1 - math.log(max(work.p, 1e-300)) / math.log(ALPHA)
        idle = min(1.0, max(0.0, doubt))
        share = idle + SCREEN_WEIGHT * min(distance / LIMIT, 1.0)
        self.by_node |= {name: self.by_node.get(name, 0.0) + share for name in nodes}
        return max(self.by_node[name] for name in nodes)

    def clear(self, nodes: Sequence[str], share: float) -> None:
        """This share of a round of these nodes was repeated, or looked at, and found clean."""
        self.by_node |= {name: self.by_node[name] * (1 - share) for name in nodes}


@dataclass(frozen=True)
class Candidate:
    """A replica that can be audited."""

    windows: tuple[int, ...]  # the steps of each
    suspicion: float
    urgent: bool  # all of its work is audited now, whatever that costs


@dataclass
class Purse:
    """The training steps that audits may still spend on suspects.

    Urgent audits may overdraw it, and later rounds pay that back, unless they can pay for
    everything; one round's allowance is kept in reserve for such audits. The debt is at most one
    allowance: else a liar who pushes honest updates beyond the screen's limit, round after round,
    would use up what there is for auditing him."""

    steps: float = 0.0

    def choose(
        self,
        candidates: Mapping[int, Candidate],
        chance: float,
        allowance: float,
        draw: torch.Generator,
    ) -> tuple[dict[int, tuple[int, ...]], dict[int, tuple[int, ...]]]:
        """Choose the windows to audit: by chance, all of urgent candidates, for each of these one
        of somebody else, who may have made it stand out, and of suspects as many as can be paid.

        Args:
            chance: that a window is audited, whoever's it is.
            allowance: steps that this round may spend on audits, by chance or not.
            draw: nobody can have foreseen it.

        Returns:
            By replica, the windows to audit; and those of them that chance alone has chosen.
        """
        total = sum(sum(c.windows) for c in candidates.values())
        every = {i: range(len(c.windows)) for i, c in sorted(candidates.items())}
        drawn = {i: _draw(len(windows), chance, draw) for i, windows in every.items()}
        urgent = [i for i, c in candidates.items() if c.urgent]
        chosen = {i: set(every[i] if i in urgent else drawn[i]) for i in every}

        others = [(i, w) for i, windows in every.items() for w in windows if i not in urgent]
        shuffled = [others[place] for place in torch.randperm(len(others), generator=draw).tolist()]
        for index, window in shuffled[: len(urgent)]:
            chosen[index].add(window)

        spent = sum(candidates[i].windows[w] for i, windows in chosen.items() for w in windows)
        if allowance >= total:
            self.steps = max(self.steps, 0.0)
        self.steps = max(self.steps + allowance - spent, -allowance)
        reserve = allowance if allowance < total else 0.0

        # among equally suspicious candidates, such as both of two, chance decides
        by_chance = [*dict.fromkeys(index for index, _ in shuffled), *urgent]
        for index in sorted(by_chance, key=lambda i: -candidates[i].suspicion):
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
