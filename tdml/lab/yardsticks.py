"""Other defences, to compare TDML's with: each takes the place of its judgement in the engine."""

from collections.abc import Mapping, Sequence

import torch

from tdml.lab.byzfl_rules import RULES, Rule, make_rule
from tdml.lab.mandera import mandera
from tdml.round.engine import Engine
from tdml.round.fleet import Fleet
from tdml.round.gather import Gathered, stream_blocks
from tdml.round.job import Job
from tdml.round.record import Record
from tdml.trust.judgement import Judgement
from tdml.trust.screen import screen

_SELECT = {
    "mandera": lambda updates, _: set(mandera(updates).suspects),
    "screen": lambda u, p: set(screen(u, p).suspects),
}
NAMES = ("none", *_SELECT, *RULES)


class Yardstick(Engine):
    """Plays rounds without audits, and aggregates by another rule.

    Args:
        rule: "none": the mean; "mandera" or "screen": the mean of those whom it does not suspect;
            or one of ByzFL's.
        byzantine: the true number of attackers, for the rules that must be told.
    """

    def __init__(self, job: Job, fleet: Fleet, record: Record, rule: str, byzantine: int) -> None:
        super().__init__(job, fleet, record)
        self._rule, self._byzantine = rule, byzantine
        self._average: Rule | None = make_rule(rule) if rule in RULES else None

    def aggregate(
        self, gathered: Gathered, judgements: Mapping[int, Judgement]
    ) -> tuple[set[int], dict[int, int]]:
        replicas = gathered.replicas
        if not replicas:
            return set(), {}
        updates = self._whole(gathered, replicas)
        sizes = [layout.size for layout in self.job.layouts]
        combined = self._combine(updates, replicas, gathered).clone()
        self.step(gathered.start.number, combined.split(sizes))
        return set(), {}

    def _whole(self, gathered: Gathered, replicas: Sequence[int]) -> torch.Tensor:
        """All updates, (n, d): few enough in a laboratory."""
        blocks = [
            torch.stack([b[index] for index in replicas])
            for _, b in stream_blocks(self.fleet, self.job, gathered, replicas)
        ]
        return torch.cat(blocks, dim=1)

    def _combine(
        self, updates: torch.Tensor, replicas: Sequence[int], gathered: Gathered
    ) -> torch.Tensor:
        if self._average is not None:
            return self._average(updates, min(self._byzantine, (len(replicas) - 1) // 2))
        out: set[int] = set()
        if self._rule in _SELECT and len(replicas) > 2:
            parameters = self.job.parameters[0] if len(self.job.layouts) == 1 else None
            out = _SELECT[self._rule](updates, parameters)
        kept = [row for row in range(len(replicas)) if row not in out] or list(range(len(replicas)))
        weights = torch.tensor([float(gathered.start.steps[replicas[row]]) for row in kept])
        return (weights[:, None] * updates[kept]).sum(dim=0) / weights.sum()


def settings_of(defence: str) -> list[str]:
    """The settings under which a yardstick is measured."""
    return ["trust.enabled=false"] if defence in NAMES else []
