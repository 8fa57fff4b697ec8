"""A whole federation in one process: shares, batches, steps, updates and attackers from the same code as the cluster's.

What is missing is what detection does not depend on: processes, pipelines, RPC, deadlines and spares.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F

from tdml import config as settings
from tdml import job as jobs
from tdml.attacks.attacker import Attacker
from tdml.attacks.base import Attack, Knowledge, make_attack
from tdml.bench.steps import LocalSteps, State
from tdml.cluster.messages import Seat
from tdml.cluster.topology import seat_name
from tdml.data import source
from tdml.data.images import Images
from tdml.models import whole
from tdml.models.compute import autocast, lay_out
from tdml.models.layout import change
from tdml.seeds import derive
from tdml.training.outer import outer_optimizer
from tdml.trust.commitment import Inspection, commitment, content, inspect, remember

_EVALUATED = 1024  # samples in a forward pass
_KEPT = 512  # training batches in memory
_FEW = 10_000  # samples that are all kept in memory


class _Remembered(source.Source):
    """A source that keeps what it has read: all samples if they are few and always the same, else the last batches,
    for validators are given the very samples that were trained on."""

    def __init__(self, loaded: source.Source) -> None:
        self.__dict__.update(vars(loaded))
        self._read = lru_cache(maxsize=_KEPT)(super().training_batch)
        constant = isinstance(self.train, Images) and not self.train.augment and len(self.train) <= _FEW
        self._all = super().training_batch(range(len(self.train)), seed=0) if constant else None

    def training_batch(self, indices: Sequence[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        if self._all is not None:
            chosen = torch.tensor(indices)
            return self._all[0][chosen], self._all[1][chosen]
        return self._read(tuple(indices), seed)


@lru_cache(maxsize=4)
def _load(data: tuple, seed: int) -> source.Source:
    return _Remembered(source.load(dict(data), seed))


class Federation:
    """All replicas of a job and its global weights.

    Args:
        overrides: Hydra's, as for `tdml train`.
    """

    def __init__(self, overrides: Sequence[str]) -> None:
        config = settings.load(list(overrides))
        data = _load(tuple(sorted(config.data.items())), config.seed)
        self.job = jobs.prepare(config, data, None)
        self.config, self.layouts = config, self.job.layouts
        self.weights = whole.flatten(self.job.model, self.layouts)
        self.live = list(range(config.topology.replicas))
        self.first_deed: dict[int, int] = {}  # replica → the first round in which it did anything but honest work
        self.states: dict[int, list[State]] = {}  # of the last round: replica → between its windows
        self._outer = outer_optimizer(config.sync)
        self._attackers = {replica: self._seat(replica) for replica in self.live}
        self._change: list[torch.Tensor] | None = None
        self._seen: dict[str, int] = {}  # content of every update so far → its round
        self._steps = LocalSteps(self.job)
        self._assigned = lru_cache(maxsize=_KEPT)(lambda number, replica: self.job.batches(replica, number))

    @property
    def attacking(self) -> list[int]:
        """The replicas with attacking nodes."""
        return [index for index, seated in self._attackers.items() if any(a.attacks for a in seated)]

    # A round

    def updates(self, number: int) -> dict[int, list[torch.Tensor]]:
        """What the live replicas hand in, one update per stage, as the attackers have it."""
        for seated in self._attackers.values():
            for stage, attacker in enumerate(seated):
                if attacker.attacks and self._change is not None:
                    attacker.watch(self._change[stage])
        trained = {replica: self.train(replica, number) for replica in self.live}
        return self.corrupt(trained, number)

    def train(self, replica: int, number: int) -> list[torch.Tensor]:
        """The update of a replica's local steps, one (d_s,) float32 per stage, as `Worker.train` makes it."""
        seated, borders = self._attackers[replica], self.job.edges(replica)[1:-1]
        assigned = self.job.steps[replica]
        taken = min(attacker.steps(assigned, number) for attacker in seated)
        self._note(replica, number, taken != assigned)
        self._steps.begin(self.weights)
        self.states[replica] = []
        for step in range(assigned):
            if step in borders:
                self.states[replica].append(self._steps.state())
            if step < taken:
                self._steps.step(*self._given(number, replica, step), self._seed(number, replica, step), number, step)
        return self._update()

    def repeat(self, replica: int, number: int, window: int) -> list[torch.Tensor]:
        """What the assigned steps of a window lead to, from the state before it that the replica has kept: the weights
        by stage, or at the round's end the update."""
        edges = self.job.edges(replica)
        if window == 0:
            self._steps.begin(self.weights)
        else:
            self._steps.resume(self.states[replica][window - 1])
        for step in range(*edges[window : window + 2]):
            self._steps.step(*self._batch(number, replica, step), self._seed(number, replica, step), number, step)
        return self._update() if window == len(edges) - 2 else self._steps.weights()

    def corrupt(self, trained: dict[int, list[torch.Tensor]], number: int) -> dict[int, list[torch.Tensor]]:
        """What is handed in in place of the updates that were trained. Attackers know those of the honest."""
        attacking = set(self.attacking)
        honest = [updates for replica, updates in trained.items() if replica not in attacking]
        handed_in = {}
        for replica, updates in trained.items():
            handed_in[replica] = [
                attacker.update(update, number, self._knowledge(stage, honest, trained) if attacker.attacks else None)
                for stage, (attacker, update) in enumerate(zip(self._attackers[replica], updates, strict=True))
            ]
            same = all(map(_same, updates, handed_in[replica]))
            self._note(replica, number, not same)
        return handed_in

    def inspect(self, updates: dict[int, list[torch.Tensor]], number: int, strict: bool) -> dict[int, list[Inspection]]:
        """What is no update at all, by replica and stage, as the cluster finds it."""
        found: dict[int, list[Inspection]] = {replica: [] for replica in updates}
        for replica, parts in updates.items():
            for stage, (part, layout) in enumerate(zip(parts, self.layouts, strict=True)):
                name = seat_name(Seat(replica, stage))
                digest = commitment(number, name, content(part))
                found[replica].append(inspect(part, layout.size, digest, name, number, self._seen, strict))
        remember(self._seen, [inspection.content for nodes in found.values() for inspection in nodes], number)
        return found

    def step(self, mean_update: Sequence[torch.Tensor]) -> None:
        """The outer step on the round's aggregate."""
        before = self.weights
        self.weights = self._outer.step(before, mean_update, self.job.parameters)
        whole.agree(self.layouts, self.weights)
        self._change = [change(*pair) for pair in zip(before, self.weights, strict=True)]

    def testimony(self, juror: int, losses: torch.Tensor, candidate: int | None, number: int) -> torch.Tensor:
        """What a replica reports as a validator, whose true losses these are."""
        attacker = self._attackers[juror][-1]
        if not attacker.attacks:
            return losses
        report = attacker.testimony(losses.float(), candidate, number)
        self._note(juror, number, not torch.equal(report, losses.float()))
        return report

    # Judging

    @torch.no_grad()
    def logits(self, inputs: torch.Tensor, update: Sequence[torch.Tensor] | None = None) -> torch.Tensor:
        """The outputs of the global weights, with a candidate's update added if there is one."""
        flats = self.weights if update is None else [w + u for w, u in zip(self.weights, update, strict=True)]
        whole.write(self.job.model, self.layouts, flats)
        self.job.model.eval()
        train = self.config.train
        with autocast(train, inputs.device):
            parts = [self.job.model(lay_out(part, train)) for part in inputs.split(_EVALUATED)]
        return torch.cat(parts).float()

    def losses(
        self, inputs: torch.Tensor, labels: torch.Tensor, update: Sequence[torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Cross-entropies, (k,) float32; see `logits`."""
        return F.cross_entropy(self.logits(inputs, update), labels, reduction="none")

    def held_out(self, split: str, positions: Iterable[int] | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Samples of the validation or the test half, all if no positions are given."""
        chosen = range(self.job.source.size(split)) if positions is None else positions
        return self.job.source.held_out_batch(split, list(chosen))

    def accuracy(self) -> float:
        """Of the global weights on the test half."""
        inputs, labels = self.held_out("test")
        return float((self.logits(inputs).argmax(dim=1) == labels).float().mean())

    def backdoor_success(self) -> float | None:
        """The share of stamped test inputs taken for the target of a backdoor; None if there is no backdoor."""
        attack = self._backdoor()
        if attack is None:
            return None
        inputs, labels = self.held_out("test")
        stamped = attack.stamp(inputs[labels != attack.target])
        return float((self.logits(stamped).argmax(dim=1) == attack.target).float().mean())

    # Inside

    def _seat(self, replica: int) -> list[Attacker]:
        seated = [Attacker(self.config, seat_name(Seat(replica, stage))) for stage in range(len(self.layouts))]
        skips = all(attacker.attacks for attacker in seated)
        for stage, attacker in enumerate(seated):
            attacker.sit(replica, stage, self.layouts[stage], skips)
        return seated

    def _given(self, number: int, replica: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The batch that a replica trains on, as its attackers have it."""
        seated = self._attackers[replica]
        given, right = self._batch(number, replica, step)
        inputs, labels = seated[0].inputs(given.clone(), number), seated[-1].labels(right.clone(), number)
        if seated[0].attacks or seated[-1].attacks:
            self._note(replica, number, not (torch.equal(inputs, given) and torch.equal(labels, right)))
        return inputs, labels

    def _batch(self, number: int, replica: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        indices = self._assigned(number, replica)[step].tolist()
        return self.job.source.training_batch(indices, self.job.augmentation(number, replica, step))

    def _seed(self, number: int, replica: int, step: int) -> int:
        return derive(self.config.seed, "model", number, replica, 0, step)

    def _update(self) -> list[torch.Tensor]:
        return [change(*pair) for pair in zip(self.weights, self._steps.weights(), strict=True)]

    def _knowledge(
        self, stage: int, honest: Sequence[list[torch.Tensor]], trained: dict[int, list[torch.Tensor]]
    ) -> Knowledge | None:
        if not self.job.omniscient:
            return None
        size = self.layouts[stage].size
        rows = torch.stack([updates[stage] for updates in honest]) if honest else torch.empty(0, size)
        count = sum(self._attackers[replica][stage].attacks for replica in trained)
        return Knowledge.of(rows, count, self.job.sees_updates)

    def _backdoor(self) -> Attack | None:
        attack = make_attack(self.config.attack) if self.config.attack.get("_target_") else None
        return attack if hasattr(attack, "stamp") else None

    def _note(self, replica: int, number: int, deed: bool) -> None:
        if deed:
            self.first_deed.setdefault(replica, number)


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one is other or (one.dtype == other.dtype and torch.equal(one, other))
