"""A whole job in one process: the engine of the cluster, on a fleet of objects."""

import hashlib
import itertools
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol, runtime_checkable

import torch

from tdml import config as settings
from tdml.attacks.base import make_attack
from tdml.common.seeds import derive
from tdml.data import source
from tdml.data.source import Source
from tdml.lab.fleet import LocalFleet
from tdml.lab.yardsticks import Yardstick
from tdml.models.compute import autocast, lay_out
from tdml.protocol.identity import Identity
from tdml.protocol.names import node_names
from tdml.round.checkpoint import to_keep
from tdml.round.engine import Engine
from tdml.round.job import Job
from tdml.round.recorder import Recorder
from tdml.round.result import Round
from tdml.round.rollback import why_back
from tdml.run.prepare import prepare
from tdml.tasks.objective import make_task

_EVALUATED = 1024  # samples in a forward pass


@runtime_checkable
class _Stamps(Protocol):
    """An attack that leaves a backdoor: stamped inputs are taken for its target."""

    target: int

    def stamp(self, inputs: torch.Tensor) -> torch.Tensor:
        """The inputs (n, …), stamped."""
        ...


@lru_cache(maxsize=4)
def _load(data: str, seed: int, task: str) -> Source:
    """By what the settings are, as JSON."""
    of_data = json.loads(data)
    return source.load(of_data, seed, make_task(json.loads(task), seed, of_data.get("weights")))


class Seeded:
    """Secrets that follow from the job's seed: nobody in a laboratory looks ahead."""

    def __init__(self, seed: int) -> None:
        self._seed, self._plays = seed, itertools.count()

    def secret(self, round_number: int) -> int:
        return derive(self._seed, "secret", round_number)

    def play(self, round_number: int) -> str:
        played = f"{self._seed} {round_number} {next(self._plays)}"
        return hashlib.sha256(played.encode()).hexdigest()

    def keep(self, exhibit: dict[str, torch.Tensor]) -> dict[str, str]:
        """Nobody reads a laboratory's evidence."""
        return {}


class Laboratory:
    """A job whose rounds are played here.

    Args:
        overrides: Hydra's, as for `tdml train`.
        rule: one of `tdml.lab.yardsticks.NAMES` in the place of TDML's own judgement; "" for that.
        byzantine: the number of attackers, for rules that must be told.
        recorder: writes down every round, and knows what nobody may foresee; without, that follows
            from the job's seed.
        identities: the nodes' keys, by name, of the job `job_id`; fresh ones if there are none.
    """

    def __init__(
        self,
        overrides: Sequence[str],
        rule: str = "",
        byzantine: int = 0,
        recorder: Recorder | None = None,
        identities: dict[str, Identity] | None = None,
        job_id: str = "laboratory",
    ) -> None:
        config = settings.load(list(overrides))
        data = _load(json.dumps(config.data), config.seed, json.dumps(config.task))
        self.job: Job = prepare(config, data, None)
        identities = identities or {name: Identity.new() for name in node_names(config.topology)}
        self.fleet = LocalFleet(self.job, job_id, identities)
        self._recorder = recorder
        secrets = recorder or Seeded(config.seed)
        if rule:
            self.engine: Engine = Yardstick(self.job, self.fleet, secrets, rule, byzantine)
        else:
            self.engine = Engine(self.job, self.fleet, secrets)

    def run(self, rounds: int) -> list[Round]:
        """All rounds, those among them that are taken back and come again."""
        played: list[Round] = []
        kept = {0: self._kept()}
        number = 1
        while number <= rounds:
            played.append(self.play(number))
            kept[number] = self._kept()
            kept = {each: kept[each] for each in {0, *to_keep(list(kept))}}
            number = self._following(played[-1], rounds, kept)
        return played

    def _kept(self) -> tuple:
        """What `Engine.go_back` takes."""
        return list(self.engine.weights), self.engine.outer.state(), self.engine.moved

    def play(self, number: int) -> Round:
        """One round."""
        slots = {replica.index: replica.names for replica in self.fleet.muster()}
        if self._recorder is None:
            return self.engine.play(number, slots)
        fewer = self.engine.balance.fewer(slots)
        self._recorder.open_round(number, self.engine.digest(), slots, self.fleet.present, fewer)
        played = self.engine.play(number, slots)
        self._recorder.close_round(played, ())
        return played

    def _following(self, played: Round, rounds: int, kept: dict[int, tuple]) -> int:
        """The number of the round that comes next. After a proof it is that after the newest
        checkpoint that holds nothing of the liar, as in a cluster that has room for all it keeps.
        """
        contributions = self.engine.judge.standing.contributions
        if self.job.config.trust.rollback == "off" or not played.tainted:
            return played.number + 1
        after = max(number for number in kept if number < played.tainted[0])
        if not contributions.may_go_back(after, played.number, rounds):
            return played.number + 1
        contributions.forget(after, played.number)
        self.engine.go_back(after, *kept[after])
        for number in [number for number in kept if number > after]:
            del kept[number]
        if self._recorder is not None:
            self._recorder.roll_back(after, why_back(played, after))
        return after + 1

    def backdoor_success(self, given: dict | None = None) -> float | None:
        """The share of stamped test inputs taken for the target of a backdoor: the job's, or as the
        settings of an attack are that are `given`; None if there is no backdoor."""
        chosen = given or self.job.config.attack
        attack = make_attack(chosen) if chosen.get("_target_") else None
        if not isinstance(attack, _Stamps):
            return None
        positions = list(range(self.job.source.size("test")))
        inputs, labels = self.job.source.held_out_batch("test", positions)
        stamped = attack.stamp(inputs[labels != attack.target])
        return float((self._logits(stamped).argmax(dim=1) == attack.target).float().mean())

    @torch.no_grad()
    def _logits(self, inputs: torch.Tensor) -> torch.Tensor:
        self.job.write_weights(self.engine.weights)
        model, train = self.job.model.eval(), self.job.config.train
        with autocast(train, inputs.device):
            return torch.cat(
                [model(lay_out(part, train)) for part in inputs.split(_EVALUATED)]
            ).float()
