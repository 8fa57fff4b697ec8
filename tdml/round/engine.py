"""The round, to be read from top to bottom. One engine plays it, on either kind of fleet."""

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
from tdml.round.aggregate import mean, without_missing
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
from tdml.round.record import Record
from tdml.round.reports import false_figures
from tdml.round.result import Round
from tdml.round.round_start import RoundStart
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
        self.version = 0  # of the weights: another number whenever they change
        self._digest = -1, ""  # a version, and the digest of the model with its weights
        self.moved = 0  # the last round that has changed the weights
        self.inner = InnerStates(job)
        self.activity = ""
        self.training: Sequence[Replica] = []
        self.clock = Stopwatch()
        self._pace = Pace()
        self.balance = Balance(job.steps, job.config.sync.balance)
        self.steps: dict[int, int] = {}  # of the round, by replica
        self._late: dict[int, Sequence[str]] = {}  # nodes of the last round, by replica
        # What folds is compiled while the replicas train, not when their updates wait for it.
        ready = torch.zeros(job.config.topology.most, 1)
        threading.Thread(target=fold, args=(ready,), daemon=True).start()

    def play(self, number: int, slots: Mapping[int, Sequence[str]]) -> Round:
        """Play one round with the replicas that were mustered. `slots` are the names of their
        nodes, by replica and stage."""
        self.clock = Stopwatch()
        self.steps = self.balance.steps(slots)
        named = {index: tuple(names) for index, names in slots.items()}
        round_ = Round(number, named, self.steps, notes=self.balance.news(self.steps))
        start = RoundStart(
            number,
            self.weights,
            self.steps,
            nonce=self._record.play(number),
            secret=self._record.secret(number),
            inner=self.inner.contents(slots),
            unverified_inner=self.inner.unverified(slots),
            pauses=self.fleet.pauses,
        )
        with self.phase("broadcast", number):
            round_.bytes["down"] += self.broadcast(self.fleet.ready(slots))
        with self.phase("train", number):
            trained, redone = self.train(start)
        with self.phase("gather", number):
            gathered = gather(self.fleet, self.job, start, trained)
        with self.phase("screen", number):
            screening = self.judge.screen(gathered)
        with self.phase("cross_check", number):
            checked = self.judge.cross_check(gathered)
        with self.phase("audit", number):
            audits = self.judge.audit(gathered, screening, checked)
            outcomes = self._collect_debts(redone, gathered, audits)
            judged = self.judge.decide(Findings(gathered, screening, checked, audits))
        with self.phase("aggregate", number):
            missing, improvement = self.aggregate(gathered, judged.judgements)
            judged = without_missing(self.job, judged, gathered, missing)
            self.inner.close(slots, gathered, judged.judgements)
            self.judge.note_contributions(number, judged)
        round_.bans = self.ban(judged.proofs)
        self._note_results(round_, trained, gathered, judged, improvement, outcomes)
        with self.phase("broadcast", number):
            evaluators = round_.accepted or sorted(gathered.names)
            if not self.fleet.ready(evaluators):  # they were lost when they repeated others' work
                self.fleet.form(evaluators)
            round_.bytes["down"] += self.broadcast(self.fleet.ready(evaluators))
        with self.phase("evaluate", number):
            tested = self._measure(round_, evaluators, "test", start)
            round_.test = tested or self.job.measures.unknown
            if self.job.config.validates:
                round_.validation = self._measure(round_, evaluators, "validation", start) or {}
        round_.weights = self.digest()
        round_.seconds = self.clock.seconds
        return round_

    def go_back(
        self, after: int, weights: Sequence[torch.Tensor], outer: Sequence[torch.Tensor], moved: int
    ) -> None:
        """Go on from the end of the round `after`: its weights, its outer optimizer's state, and
        the round that had `moved` the weights last."""
        self.weights, self.version, self.moved = list(weights), self.version + 1, moved
        self.outer.restore(list(outer))
        self.inner.forget()
        self.judge.debts.take_back(after)
        self.job.left_out.take_back(after)

    # The phases

    def broadcast(self, replicas: Sequence[Replica]) -> int:
        """Send the global weights to the replicas that do not have them. Returns bytes sent."""
        # hashed once, and not by every thread that is about to send them
        digests([*self.weights, *chain.from_iterable(self.job.frozen)])
        given = self.weights, self.version, self.job.frozen
        return sum(self.fleet.each(lambda r: r.load(*given), replicas).values())

    def train(self, start: RoundStart) -> tuple[dict[int, Trained], Redone]:
        """Have all formed replicas take their local steps and commit to the result, which shows it
        to nobody yet. Those that fail or are late lose the round; those that owe an earlier round's
        work do that again instead. Returns, by replica, what both have committed to."""
        self.training = self.fleet.ready(range(self.job.config.topology.most))
        names = {replica.index: replica.names for replica in self.training}
        owing, collector = self.judge.collector.due(self.training), self.judge.collector
        deadline = Deadline(self._pace, self.job.config.sync.deadline, names)
        redone: Redone = {index: [] for index in owing}

        def do(replica: Replica) -> Trained | None:
            late = partial(deadline.passed, replica.index)
            try:
                if debt := owing.get(replica.index):
                    redone[replica.index] = collector.call_in(replica, debt, start.nonce, late)
                    deadline.finished(replica.index)
                    return None
                steps = start.steps[replica.index]
                inner = start.inner.get(replica.index, ())
                order = self.job.train_order(replica.index, start.number, steps, start.nonce, inner)
                return self._train_one(order, replica, deadline)
            finally:
                deadline.leave(replica.index)

        done = self.fleet.each(do, self.training)
        late = set() if start.stood_still(self.fleet.pauses) else deadline.late
        self.balance.close(names, late)
        self._give_up_the_late(names, late)
        redone = {index: made for index, made in redone.items() if index not in deadline.late}
        return {index: trained for index, trained in done.items() if trained}, redone

    def _train_one(self, order: TrainOrder, replica: Replica, deadline: Deadline) -> Trained:
        """Have one replica take its local steps, and note how fast it is. Its time runs until it
        has committed, for it may say too early that it is done; if it is late, its speed is that of
        the steps that it has reported."""
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

    def _give_up_the_late(self, names: Mapping[int, Sequence[str]], late: Collection[int]) -> None:
        """Give up the replicas that are late twice in a row, unless all of them are."""
        twice = [index for index in late if self._late.get(index) == names[index]]
        self._late = {index: names[index] for index in late}
        if len(twice) < len(names):
            for index in twice:
                self.fleet.give_up(names[index], "late twice in a row")

    def _collect_debts(self, redone: Redone, gathered: Gathered, audits: Audits) -> dict[int, str]:
        """Have the rounds audited that replicas have done again. Returns the outcomes in words."""
        if not redone:
            return {}
        draw = gathered.start.draw("debts")
        more, outcomes = self.judge.collector.collect(redone, gathered, draw)
        audits.join(more)
        self.broadcast(self.fleet.ready(sorted({*redone, *gathered.auditable})))
        return outcomes

    def ban(self, proofs: Sequence[Proof]) -> dict[str, str]:
        """Ban the nodes that are proven to lie. Returns why, by name."""
        bans = {name: proof.reason for proof in proofs for name in proof.nodes}
        for name, reason in bans.items():
            self.fleet.ban(name, reason)
        if bans:
            self.judge.standing.cleared.forget()
        return bans

    def convict(self, round_: Round, proofs: Sequence[Proof]) -> None:
        """Ban nodes that are convicted after the round's mean was taken, and note which rounds may
        hold their lies: this one, too."""
        round_.bans = self.ban(proofs) | round_.bans
        self.judge.debts.drop(name for proof in proofs for name in proof.nodes)
        tainted = {*round_.tainted, *self.judge.tainted(round_.number + 1, proofs)}
        round_.tainted = range(min(tainted), max(tainted) + 1) if tainted else range(0)

    def aggregate(
        self, gathered: Gathered, judgements: Mapping[int, Judgement]
    ) -> tuple[set[int], dict[int, int]]:
        """Take the outer step on the mean of the updates that count; if none does, the weights stay
        as they are. Returns the replicas whose updates would count, but could not be had a second
        time; and what each update has improved, where rewards depend on that."""
        counted = [index for index in gathered.replicas if judgements[index].accepted]
        average = mean(self.fleet, self.job, gathered, counted, judgements)
        improvement = improvements(self.job, self.fleet, gathered, judgements, average)
        sound = [index for index in average.replicas if index not in gathered.faults]
        if len(sound) < len(average.replicas):  # meanwhile somebody has shown another update
            average = mean(self.fleet, self.job, gathered, sound, judgements)
        if average.replicas:
            self.step(gathered.start.number, average.stages)
        return {*counted} - {*average.replicas}, improvement

    def step(self, number: int, means: Sequence[torch.Tensor]) -> None:
        """The outer step on a mean of updates, by stage."""
        self.weights = self.outer.step(self.weights, means, self.job.parameters)
        whole.agree(self.job.layouts, self.weights)
        self.version, self.moved = self.version + 1, number

    def digest(self) -> str:
        """The digest of the model with the global weights."""
        if self._digest[0] != self.version:
            state = self.job.write_weights(self.weights)
            self._digest = self.version, digest_of_weights(state)
        return self._digest[1]

    def _measure(
        self, round_: Round, evaluators: Sequence[int], split: str, start: RoundStart
    ) -> dict[str, float] | None:
        """Have replicas measure the global weights: see `evaluate`. Where some are proven to lie,
        the others measure again. Samples whose loss is not finite are named in round 1."""
        draw, settler = start.draw("figures", split), self.judge.auditor.settler
        measured = evaluate(self.job, self.fleet, start, evaluators, split)
        while proofs := false_figures(settler, measured.evaluated, self.weights, draw):
            self.convict(round_, proofs)
            measured = evaluate(self.job, self.fleet, start, evaluators, split)
        if measured.unsound and round_.number == 1:
            round_.notes.append(measured.unsound)
        return measured.means

    def _note_results(
        self,
        round_: Round,
        trained: Mapping[int, Trained],
        gathered: Gathered,
        judged: Judged,
        improvement: Mapping[int, int],
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
            why = outcomes.get(index, self.fleet.losses.get(index, "it was not asked"))
            judgement = judged.judgements.get(index) or lost(index, names, why)
            if index in trained:
                windows = window_steps(self.job, gathered, index)
                judgement = replace(
                    judgement,
                    train_loss=trained[index].loss,
                    improvement=improvement.get(index, 0),
                    repeated=self.job.samples(judged.audits.repeated(index, windows)),
                )
            round_.judgements[index] = judgement
            round_.forgiven += self.judge.debts.tell_forgiven(names)

    @contextmanager
    def phase(self, name: str, number: int) -> Iterator[None]:
        """Measure the time of one phase of a round, and say what the run is doing."""
        self.activity = f"round {number}/{self.job.config.rounds}: {name.replace('_', ' ')}"
        with self.clock.phase(name):
            yield
