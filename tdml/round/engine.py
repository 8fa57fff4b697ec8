"""The round, to be read from top to bottom. One engine plays it on either fleet."""

import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain

import torch

from tdml.common.digest import digests
from tdml.ledger.weights import digest_of_weights
from tdml.models import whole
from tdml.protocol.orders import ReplicaLost, Trained, TrainOrder
from tdml.round.aggregate import look_again, mean
from tdml.round.audits import Audits
from tdml.round.balance import Balance
from tdml.round.clock import Stopwatch
from tdml.round.collector import Redone
from tdml.round.deadline import Deadline, Pace
from tdml.round.evaluate import evaluate, improvements
from tdml.round.evidence import Findings, window_steps
from tdml.round.fleet import Fleet, Replica
from tdml.round.gather import Gathered, gather
from tdml.round.inner_states import InnerStates
from tdml.round.job import Job
from tdml.round.judge import Judge, Judged
from tdml.round.outer import outer_optimizer
from tdml.round.played import Round
from tdml.round.reports import false_figures
from tdml.round.start import Record, RoundStart
from tdml.trust.fold import fold
from tdml.trust.judgement import Judgement, Proof, lost

_UNCHANGED = "no update was accepted: the global weights stay as they were"


class Engine:
    """Owns the global weights, and plays rounds."""

    def __init__(self, job: Job, fleet: Fleet, record: Record) -> None:
        self.job, self.fleet, self._record = job, fleet, record
        self.outer = outer_optimizer(job.config.sync)
        self.judge = Judge(fleet, job, record.keep)
        self.weights = whole.flatten(job.model, job.layouts)
        self.version = 0  # of the weights: a number that no others have had
        self._digest = -1, ""  # of which version, and what
        self.moved = 0  # the last round that has changed them
        self.inner = InnerStates(job)
        self.activity = ""
        self.training: Sequence[Replica] = []
        self._clock = Stopwatch()
        self._pace = Pace()
        self.balance = Balance(job.steps, job.config.sync.balance)
        self.steps: dict[int, int] = {}  # of the round, by replica
        self._late: dict[int, tuple[str, ...]] = {}  # nodes of the last round, by replica
        # What folds is compiled while the replicas train, not when their updates wait for it.
        ready = torch.zeros(job.config.topology.most, 1)
        threading.Thread(target=fold, args=(ready,), daemon=True).start()

    def play(self, number: int, slots: Mapping[int, Sequence[str]]) -> Round:
        """One round of the replicas that were mustered, with these nodes."""
        self._clock = Stopwatch()
        self.steps = self.balance.steps(slots)
        named = {index: tuple(names) for index, names in slots.items()}
        round_ = Round(number, named, self.steps, notes=self.balance.news(self.steps))
        secret, play = self._record.secret(number), self._record.play(number)
        inner, unverified = self.inner.contents(slots), self.inner.unverified(slots)
        of_nodes = inner, unverified, self.fleet.pauses
        start = RoundStart(number, self.weights, self.steps, play, secret, *of_nodes)
        with self.phase("broadcast", number):
            round_.bytes["down"] += self.broadcast(self.fleet.ready(slots))
        with self.phase("train", number):
            trained, again = self.train(start)
        with self.phase("gather", number):
            gathered = gather(self.fleet, self.job, start, trained)
        with self.phase("screen", number):
            screening = self.judge.screen(gathered)
        with self.phase("cross_check", number):
            checked = self.judge.cross_check(gathered)
        with self.phase("audit", number):
            audits = self.judge.audit(gathered, screening, checked)
            outcomes = self._collect(again, gathered, audits)
            judged = self.judge.decide(Findings(gathered, screening, checked, audits))
        with self.phase("aggregate", number):
            missing, worth = self.aggregate(gathered, judged.judgements)
            judged = look_again(self.job, judged, gathered, missing)
            self.inner.close(slots, gathered, judged.judgements)
            self.judge.note_contributions(number, judged)
        round_.bans = self.ban(judged.proofs)
        self._fill(round_, trained, gathered, judged, worth, outcomes)
        with self.phase("broadcast", number):
            able = round_.accepted or sorted(gathered.names)
            if not self.fleet.ready(able):  # lost over what they were to repeat
                self.fleet.form(able)
            round_.bytes["down"] += self.broadcast(self.fleet.ready(able))
        with self.phase("evaluate", number):
            tested = self._measure(round_, able, "test", start)
            round_.test = tested or self.job.measures.unknown
            if self.job.config.validates:
                round_.validation = self._measure(round_, able, "validation", start) or {}
        round_.weights = self.digest()
        round_.seconds = self.seconds
        return round_

    def go_back(
        self, after: int, weights: Sequence[torch.Tensor], outer: Sequence[torch.Tensor], moved: int
    ) -> None:
        """Go on from the weights, the outer optimizer's state and `moved` after an earlier
        round."""
        self.weights, self.version, self.moved = list(weights), self.version + 1, moved
        self.outer.restore(list(outer))
        self.inner.forget()
        self.judge.debts.take_back(after)
        self.job.left_out.take_back(after)

    # The phases

    def broadcast(self, replicas: Sequence[Replica]) -> int:
        """Send the global weights to those that do not hold them yet. Returns bytes sent."""
        # once, and not by every thread that is about to send them
        digests([*self.weights, *chain.from_iterable(self.job.frozen)])
        return sum(
            self.fleet.each(
                lambda r: r.load(self.weights, self.version, self.job.frozen), replicas
            ).values()
        )

    def train(self, start: RoundStart) -> tuple[dict[int, Trained], Redone]:
        """All formed replicas take their local steps, and commit to what came of them, which tells
        nobody anything yet; those that fail or are late lose the round.
        Replicas that owe an earlier round's work do that again: the second result is what they
        commit to."""
        self.training = self.fleet.ready(range(self.job.config.topology.most))
        names = {replica.index: replica.names for replica in self.training}
        owing, collector = self.judge.debts.due(self.training), self.judge.collector
        deadline = Deadline(self._pace, self.job.config.sync.deadline, names)
        again: Redone = {index: [] for index in owing}

        def do(replica: Replica) -> Trained | None:
            late = partial(deadline.passed, replica.index)
            try:
                if debt := owing.get(replica.index):
                    again[replica.index] = collector.call_in(replica, debt, start.nonce, late)
                    return None
                steps = start.steps[replica.index]
                inner = start.inner.get(replica.index, ())
                order = self.job.train_order(replica.index, start.number, steps, start.nonce, inner)
                return self._have_trained(order, replica, deadline)
            finally:
                deadline.leave(replica.index)

        done = self.fleet.each(do, self.training)
        self.balance.close(names, deadline.late)
        self._part_from_the_late(names, deadline.late)
        again = {index: made for index, made in again.items() if index not in deadline.late}
        return {index: trained for index, trained in done.items() if trained}, again

    def _have_trained(self, order: TrainOrder, replica: Replica, deadline: Deadline) -> Trained:
        """One replica's local steps. It is timed until it has committed to them, for it may say too
        early that they are taken; of one that is late, the steps that it has reported count."""
        start = time.monotonic()

        def note(taken: int) -> None:
            self.balance.note(replica.index, taken, time.monotonic() - start)

        try:
            report = replica.train(order, partial(deadline.passed, replica.index))
            commitments = replica.commit(order)
            deadline.finished(replica.index)
        except ReplicaLost:
            if replica.index in deadline.late:
                note(max(1, replica.steps_done))
            raise
        note(len(order.batches))
        return Trained(report.loss, commitments)

    def _part_from_the_late(
        self, names: Mapping[int, tuple[str, ...]], late: Collection[int]
    ) -> None:
        """Whoever is late twice in a row is gone, unless nobody would be left."""
        again = [index for index in late if self._late.get(index) == names[index]]
        self._late = {index: names[index] for index in late}
        if len(again) < len(names):
            for index in again:
                self.fleet.give_up(names[index], "late twice in a row")

    def _collect(self, again: Redone, gathered: Gathered, audits: Audits) -> dict[int, str]:
        """What came of the work that replicas owed and have done again, by replica."""
        if not again:
            return {}
        more, outcomes = self.judge.collector.collect(again, gathered, gathered.start.draw("debts"))
        audits.join(more)
        self.broadcast(self.fleet.ready(sorted({*again, *gathered.auditable})))
        return outcomes

    def ban(self, proofs: Sequence[Proof]) -> dict[str, str]:
        """Ban the nodes that are proven to lie. Returns why, by name."""
        bans = {name: proof.reason for proof in proofs for name in proof.nodes}
        for name, reason in bans.items():
            self.fleet.ban(name, reason)
        if bans:
            self.judge.standing.usual.forget()
        return bans

    def convict(self, round_: Round, proofs: Sequence[Proof]) -> None:
        """Ban nodes that are convicted after the round's mean was taken, and note which rounds they
        may have put something into, this one among them."""
        round_.bans = self.ban(proofs) | round_.bans
        self.judge.debts.drop(name for proof in proofs for name in proof.nodes)
        tainted = {*round_.tainted, *self.judge.tainted(round_.number + 1, proofs)}
        round_.tainted = range(min(tainted), max(tainted) + 1) if tainted else range(0)

    def aggregate(
        self, gathered: Gathered, judgements: Mapping[int, Judgement]
    ) -> tuple[set[int], dict[int, int]]:
        """The outer step on the mean of what counts. With nothing, the weights stay as they were.
        Returns the replicas whose updates would count, and could not be had once more; and what
        each update has improved, where rewards depend on it."""
        counted = [index for index in gathered.replicas if judgements[index].accepted]
        average = mean(self.fleet, self.job, gathered, counted, judgements)
        worth = improvements(self.job, self.fleet, gathered, judgements, average)
        sound = [index for index in average.replicas if index not in gathered.faults]
        if len(sound) < len(average.replicas):  # another was shown meanwhile
            average = mean(self.fleet, self.job, gathered, sound, judgements)
        if average.replicas:
            self.step(gathered.start.number, average.stages)
        return {*counted} - {*average.replicas}, worth

    def step(self, number: int, means: Sequence[torch.Tensor]) -> None:
        """The outer step on a mean of updates, by stage."""
        self.weights = self.outer.step(self.weights, means, self.job.parameters)
        whole.agree(self.job.layouts, self.weights)
        self.version, self.moved = self.version + 1, number

    def digest(self) -> str:
        """Of the model with the global weights."""
        if self._digest[0] != self.version:
            state = self.job.write_weights(self.weights)
            self._digest = self.version, digest_of_weights(state)
        return self._digest[1]

    def _measure(
        self, round_: Round, able: Sequence[int], split: str, start: RoundStart
    ) -> dict[str, float] | None:
        """See `evaluate`. Without whom it proves to be lying it is measured again; samples that
        spoil it are named in round 1."""
        draw, settler = start.draw("figures", split), self.judge.auditor.settler
        measured = evaluate(self.job, self.fleet, start, able, split)
        while proofs := false_figures(settler, measured.evaluated, self.weights, draw):
            self.convict(round_, proofs)
            measured = evaluate(self.job, self.fleet, start, able, split)
        if measured.unsound and round_.number == 1:
            round_.notes.append(measured.unsound)
        return measured.means

    def _fill(
        self,
        round_: Round,
        trained: Mapping[int, Trained],
        gathered: Gathered,
        judged: Judged,
        worth: Mapping[int, int],
        outcomes: Mapping[int, str],
    ) -> None:
        round_.trained = bool(trained)
        round_.commitments, round_.audits = gathered.commitments, judged.audits.by_replica
        round_.settlements, round_.spent = judged.audits.settlements, judged.spent
        round_.tainted = self.judge.tainted(round_.number, judged.proofs)
        round_.bytes["up"] += gathered.bytes
        round_.notes += dict.fromkeys(judged.audits.notes)
        round_.notes += [] if self.moved == round_.number else [_UNCHANGED]
        for index, names in round_.slots.items():
            judgement = judged.judgements.get(index) or lost(
                index, names, outcomes.get(index, self.fleet.losses.get(index, "it was not asked"))
            )
            if index in trained:
                windows = window_steps(self.job, gathered, index)
                judgement = replace(
                    judgement,
                    train_loss=trained[index].loss,
                    improvement=worth.get(index, 0),
                    repeated=self.job.samples(judged.audits.repeated(index, windows)),
                )
            round_.judgements[index] = judgement
            round_.forgiven += self.judge.debts.tell_forgiven(names)

    @property
    def seconds(self) -> dict[str, float]:
        """Of the round so far, by phase."""
        return self._clock.seconds

    @contextmanager
    def phase(self, name: str, number: int) -> Iterator[None]:
        """The time of one phase of a round."""
        self.activity = f"round {number}/{self.job.config.rounds}: {name.replace('_', ' ')}"
        with self._clock.phase(name):
            yield
