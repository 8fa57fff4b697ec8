"""The coordinator: the round loop, to be read from top to bottom."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from tdml.cluster.channel import Offence
from tdml.cluster.court import Court
from tdml.cluster.deadline import Deadline
from tdml.cluster.evaluation import evaluate
from tdml.cluster.fleet import Fleet
from tdml.cluster.gather import Gathered, gather
from tdml.cluster.improvement import improvements
from tdml.cluster.messages import TrainOrder, TrainReport
from tdml.cluster.replica import Replica
from tdml.errors import one_line
from tdml.job import Job
from tdml.ledger.weights import digest_of_weights
from tdml.models import whole
from tdml.monitor.record import RoundRecord, Stopwatch, replica_records
from tdml.monitor.run_folder import BEST_MODEL
from tdml.seeds import derive
from tdml.training.checkpoint import Checkpoint, how_to_go_on, save, save_atomically
from tdml.training.outer import outer_optimizer
from tdml.trust.aggregate import combine, weighted_mean
from tdml.trust.audit import Outcome
from tdml.trust.verdict import Verdict

if TYPE_CHECKING:
    from tdml.monitor.monitor import Monitor
    from tdml.notary import Notary

_MOST_IDLE_ROUNDS = 3  # in a row: what stops every replica so often is no accident, whatever the reasons


class CannotGoOn(Exception):
    """No replica can be formed any more, or the rounds lead nowhere. The message says what to do."""


class Coordinator:
    """Owns the global weights. The only party that is trusted."""

    def __init__(
        self, job: Job, fleet: Fleet, monitor: "Monitor", notary: "Notary", checkpoint: Checkpoint | None
    ) -> None:
        self.job, self.fleet, self.monitor, self.notary = job, fleet, monitor, notary
        self.outer = outer_optimizer(job.config.sync)
        self.last_round = 0
        self.court = Court(job, fleet)
        if checkpoint is not None:
            self.last_round = checkpoint.round
            whole.restore(job.model, checkpoint.model)
            self.outer.restore(checkpoint.outer)
            self.court.restore(checkpoint.court)
            fleet.restore(checkpoint.fleet)
        self.weights = whole.flatten(job.model, job.layouts)
        self.version = self.last_round  # of the weights: the round that made them
        self._idle_rounds = 0  # in a row, in which no replica has finished its steps
        self._evaluated: list[bool] = []  # whether the weights could be, by round
        self._digested = (-1, "")  # version of the weights, and their digest
        self._activity = ""
        self._replicas: list[Replica] = []
        monitor.terminal.status(self._status)

    @property
    def notices(self) -> list[str]:
        """What the user should know of the whole run."""
        return [self.court.auditor.notice] if self.court.auditor.notice else []

    def run(self) -> str:
        """Play the rounds that are left, then write the model. Returns why there are no more rounds.

        Raises:
            CannotGoOn: all replicas have lost nodes that no spare can replace, or nothing comes of the rounds.
        """
        if limits := self.court.limits:
            self.monitor.terminal.say(limits, "yellow")
        self._keep_best(self.last_round)  # a run may have been cut off before it did so
        first = self.last_round + 1
        while not (over := self._is_over()):
            self.play(self.last_round + 1)
            self._check_progress(at_first=self.last_round == first)
        if self.version == 0:
            raise CannotGoOn(
                "no update was accepted in any round, so there is no model: see the rounds for the reasons"
            )
        if self._evaluated and not any(self._evaluated):
            reasons = "; ".join(self.fleet.losses.values())
            raise CannotGoOn(
                f"the weights could be evaluated in no round, so nobody knows what they are worth: {reasons}. "
                "failures.log in the run folder has the stack traces"
            )
        model = self.job.write_weights(self.weights)
        save_atomically(model, self.monitor.folder.path / "model.pt")
        self.notary.end(model, over)
        return over

    def play(self, number: int) -> None:
        """One round."""
        clock, sent = Stopwatch(), 0
        with self._phase(clock, "broadcast", number):
            replicas = self._muster(number)
            seats = {replica.index: [node.name for node in replica.nodes] for replica in replicas}
            self.notary.open_round(number, self._digest(), seats)
            sent += self.broadcast(replicas)
        with self._phase(clock, "train", number):
            reports = self.train(number)
            self._idle_rounds = 0 if reports else self._idle_rounds + 1
        with self._phase(clock, "gather", number):
            found = gather(self.fleet, self.job, number, sorted(reports), self.court.seen)
        with self._phase(clock, "screen", number):
            screened = self.court.screen(found)
        with self._phase(clock, "cross_check", number):
            secret = self.notary.secret(number)
            verdicts = self.court.judge(number, found, screened, self._replicas, secret)
        with self._phase(clock, "audit", number):
            outcomes = self.audit(number, found, verdicts, secret)
            verdicts = self.court.conclude(number, found, verdicts, outcomes, self._replicas)
            worth = self.improvements(number, found, verdicts)
            offences = self.fleet.take_offences()
            bans = self.ban(verdicts, offences)
        accepted = [index for index, verdict in sorted(verdicts.items()) if verdict.accepted]
        able = accepted or sorted(verdicts)
        with self._phase(clock, "aggregate", number):
            self.aggregate(number, found, verdicts)
        with self._phase(clock, "broadcast", number):
            sent += self.broadcast(self.fleet.ready(able))
        with self._phase(clock, "evaluate", number):
            accuracy, loss = self.evaluate(able, "test")
            self._evaluated.append(accuracy is not None)
            validated, _ = self.evaluate(able, "validation") if self.job.config.validates else (None, None)
        with self._phase(clock, "record", number):
            refusals = self._refusals(offences)
            records = replica_records(self.fleet.losses, reports, found, screened.overall, verdicts, seats)
            record = RoundRecord(
                round=number, replicas=records, accepted=accepted, test_accuracy=accuracy, test_loss=loss,
                bytes={"up": found.bytes, "down": sent}, notes=self.monitor.take_notes(),
                validation_accuracy=validated,
            )  # fmt: skip
            self.notary.close_round(
                number, seats, commitments=found.commitments, suspicions=self.court.suspicions(found, screened),
                verdicts=verdicts, lost=self.fleet.losses, outcomes=outcomes, refusals=refusals, bans=bans,
                samples={index: self.job.samples(index) for index in seats}, improvements=worth,
                weights=self._digest(),
            )  # fmt: skip
            record.seconds = clock.read()
            self.checkpoint(record)
            self.monitor.best.add(number, validated)
            self._keep_best(number)
        record.seconds = clock.read()
        self.monitor.round(record)
        self.last_round = number

    # The phases

    def broadcast(self, replicas: Sequence[Replica]) -> int:
        """Send the global weights to those that do not hold them yet. Returns bytes sent."""
        return sum(self.fleet.each(lambda replica: replica.load(self.weights, self.version), replicas).values())

    def train(self, number: int) -> dict[int, TrainReport]:
        """All formed replicas take their local steps; those that fail or are late lose the round."""
        replicas = self.fleet.ready(range(self.job.config.topology.replicas))
        self._replicas, deadline = replicas, Deadline(len(replicas), self.job.config.sync.deadline)

        def order(replica: Replica) -> TrainReport:
            batches, edges = self.job.batches(replica.index, number), self.job.edges(replica.index)
            report = replica.train(TrainOrder(number, self.job.longest, batches, edges), deadline.passed)
            deadline.finished()
            return report

        return self.fleet.each(order, replicas)

    def audit(self, number: int, found: Gathered, verdicts: dict[int, Verdict], secret: int) -> dict[int, Outcome]:
        """Have steps taken again; what keeps audits from convicting anybody is said once."""
        known = self.notices
        outcomes = self.court.audit(number, found, verdicts, self.weights, self._replicas, secret)
        for text in set(self.notices).difference(known):
            self.monitor.tell(text, "")
        return outcomes

    def improvements(self, number: int, found: Gathered, verdicts: dict[int, Verdict]) -> dict[int, int]:
        """What each update is worth, in millionths of a nat, where rewards depend on it."""
        if self.job.config.rewards.policy != "improvement":
            return {}
        weights = self._influences(found, verdicts)
        return improvements(
            self.job, self.fleet, number, found, weights, [i for i, v in verdicts.items() if v.accepted]
        )

    def ban(self, verdicts: dict[int, Verdict], offences: Sequence[Offence]) -> dict[str, str]:
        """Ban the nodes that are to blame. Returns why, by name."""
        seated = {replica.index: replica.nodes for replica in self._replicas}
        bans = {seated[i][stage].name: verdict.reason for i, verdict in verdicts.items() for stage in verdict.stages}
        bans |= {offence.node: offence.text for offence in offences if offence.proven}
        for name, reason in bans.items():
            self.fleet.ban([name], reason)
        return bans

    def aggregate(self, number: int, found: Gathered, verdicts: dict[int, Verdict]) -> None:
        """The outer step on the mean of the accepted updates. With none, the weights stay as they were."""
        weights = self._influences(found, verdicts)
        if not any(weights):
            self.monitor.tell("no update was accepted: the global weights stay as they were", "")
            return
        if self.job.config.trust.enabled:
            means = combine(found.updates, weights, self.job.parameters)
        else:
            means = [weighted_mean(updates, weights) for updates in found.updates]
        self.weights = self.outer.step(self.weights, means, self.job.parameters)
        whole.agree(self.job.layouts, self.weights)
        self.version = number

    def evaluate(self, replicas: Sequence[int], split: str) -> tuple[float | None, float | None]:
        """Accuracy and loss of the global weights on "test" or "validation", where they can be measured."""
        found = evaluate(self.job, self.fleet, replicas, split)
        if found is None:
            self.monitor.tell(f"the {split} accuracy is unknown: no replica could measure it", "")
        return found or (None, None)

    def checkpoint(self, record: RoundRecord) -> None:
        """Keep what the next round depends on."""
        self.job.write_weights(self.weights)
        save(
            Checkpoint(
                round=record.round, model=whole.tensors_of(self.job.model), outer=self.outer.state(),
                cuts=list(self.job.plan.cuts), fleet=self.fleet.state(), court=self.court.state(),
                metrics=json.dumps(record.to_json()),
            ),
            self.monitor.folder.checkpoints,
        )  # fmt: skip

    # What the phases share

    def _influences(self, found: Gathered, verdicts: dict[int, Verdict]) -> list[float]:
        return [self.job.samples(index) * verdicts[index].influence for index in found.replicas]

    def _refusals(self, offences: Sequence[Offence]) -> list[tuple[str, str]]:
        """What was not let in during the round, for the ledger."""
        received = [(name, f"it refused: {one_line(what)}") for name, what in self.fleet.refusals()]
        for name, what in received:
            self.monitor.tell(f"{name}: {what}", "")
        return [*((offence.node, offence.text) for offence in offences), *received]

    def _digest(self) -> str:
        """Of the global weights; computed once a version."""
        if self._digested[0] != self.version:
            self._digested = (self.version, digest_of_weights(self.job.write_weights(self.weights)))
        return self._digested[1]

    def _muster(self, number: int) -> list[Replica]:
        """For a round. Who is moved after a dispute is drawn from the secret of the round before, in which it arose."""
        draw = torch.Generator().manual_seed(derive(self.notary.secret(number - 1), "seats"))
        replicas = self.fleet.muster(self.court.disputes, draw)
        if not self.fleet.can_go_on():
            raise CannotGoOn(
                f"no replica is left: {len(self.fleet.banned)} nodes banned, {len(self.fleet.dead)} dead, "
                f"{len(self.fleet.roster.refused)} refused, no spare: {how_to_go_on(self.last_round)}, with more "
                "topology.spares if nodes are banned"
            )
        return replicas

    def _is_over(self) -> str:
        """Why there are no more rounds to play; "" if there are."""
        if self.last_round >= self.job.config.rounds:
            return f"all {self.job.config.rounds} rounds done"
        return self.monitor.best.no_better(self.last_round, self.job.config.train.patience)

    def _keep_best(self, number: int) -> None:
        """Write the weights after this round to model-best.pt, if no other was as good."""
        if number and self.monitor.best.round == number:
            model = self.job.write_weights(self.weights)
            save_atomically(model, self.monitor.folder.path / BEST_MODEL)

    def _check_progress(self, at_first: bool) -> None:
        """What stops every replica in the first round alike stops them in all others too."""
        reasons = list(self.fleet.losses.values())
        alike = len({re.sub(r"\d+", "", reason) for reason in reasons}) == 1 and not self.fleet.dead
        if self._idle_rounds == _MOST_IDLE_ROUNDS or (self._idle_rounds and at_first and alike):
            rounds = "1 round" if self._idle_rounds == 1 else f"{self._idle_rounds} rounds"
            raise CannotGoOn(
                f"no replica has finished its steps in {rounds}: {'; '.join(reasons)}. failures.log in the run folder "
                "has the stack traces. Mend that and go on with resume=true"
            )

    @contextmanager
    def _phase(self, clock: Stopwatch, name: str, number: int) -> Iterator[None]:
        self.fleet.meanwhile()
        self._activity = f"round {number}/{self.job.config.rounds}: {name.replace('_', ' ')}"
        with clock.phase(name):
            yield

    def _status(self) -> str:
        parts = [self._activity]
        if self._activity.endswith("train"):
            steps = (f"r{r.index} {r.steps_done}/{self.job.steps[r.index]}" for r in self._replicas)
            parts.append(f"{'  '.join(steps)} steps")
        return "   ".join([*parts, *filter(None, [self.fleet.waiting])])
