"""The coordinator's run: rounds, one after the other, each recorded before the next begins."""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from tdml.cluster.fleet import RpcFleet
from tdml.cluster.membership import refusals
from tdml.errors import CannotGoOn, one_line
from tdml.ledger.weights import digest_of_weights
from tdml.members.sessions import Sessions
from tdml.models import whole
from tdml.monitor.record import line_of
from tdml.round.checkpoint import Checkpoint, Return
from tdml.round.engine import Engine
from tdml.round.job import Job
from tdml.round.result import Round
from tdml.round.rollback import tainted_rounds, why_back
from tdml.run.keeping import Keeping
from tdml.run.muster import Muster
from tdml.run.notices import limits, notices
from tdml.run.status import status
from tdml.trust.judgement import Proof
from tdml.wire.channel import Offence

if TYPE_CHECKING:
    from tdml.monitor.monitor import Monitor
    from tdml.round.recorder import Recorder

# in a row: what stops every replica so often is no accident, whatever the reasons
_MOST_IDLE_ROUNDS = 3


class Coordinator:
    """Plays the rounds of a job, and keeps what the next one depends on. The only party that is
    trusted."""

    def __init__(
        self,
        job: Job,
        fleet: RpcFleet,
        sessions: Sessions,
        monitor: "Monitor",
        recorder: "Recorder",
        checkpoint: Checkpoint | None,
        banned: Collection[str],  # keys, by this job, as ledger or ban list know
    ) -> None:
        self.job, self.fleet, self.sessions = job, fleet, sessions
        self.monitor, self.recorder = monitor, recorder
        self.last_round = checkpoint.round if checkpoint else 0
        if checkpoint is not None:
            whole.restore(job.model, checkpoint.model)
            fleet.restore(checkpoint.fleet, banned)
        self.engine = Engine(job, fleet, recorder)
        if checkpoint is not None:
            self.engine.outer.restore(checkpoint.outer)
            self.engine.judge.restore(checkpoint.judge, monitor.folder.changes_work)
            if {*fleet.banned} - {*checkpoint.fleet["banned"]}:  # right before it was cut off
                self.engine.judge.standing.cleared.forget()
            self.engine.balance.restore(checkpoint.balance)
            self.engine.moved = checkpoint.moved
            job.left_out.since |= checkpoint.left_out
        keys, told = (checkpoint.fleet["keys"], checkpoint.notices) if checkpoint else ({}, [])
        # names by key: another machine may have such a name by now
        self._banned_before = {k: n for n, k in keys.items() if k in banned}
        # what the user should know of the whole run
        self.notices = list(dict.fromkeys(filter(None, [limits(job), *told])))
        patience = job.config.sync.patience
        self.keeping = Keeping(self.engine, fleet, monitor, self.last_round)
        self._muster = Muster(fleet, sessions, recorder, monitor, patience)
        self._idle_rounds = 0  # in a row, in which no replica has finished its steps
        self._evaluated: list[bool] = []  # whether the weights could be, by round
        monitor.terminal.status(partial(status, self.engine, fleet))

    def run(self) -> str:
        """Play the rounds that are left, then write the model. Returns why there are no more
        rounds.

        Raises:
            CannotGoOn: all replicas have lost nodes that no spare can replace, or nothing comes of
                the rounds.
        """
        try:
            return self._run()
        finally:
            self.keeping.finish()  # what a run goes on from, however this one ends

    def _run(self) -> str:
        self._say(self.notices)
        self._catch_up()
        first = self.last_round + 1
        while not (over := self._is_over()):
            self.play(self.last_round + 1)
            self._check_progress(at_first=self.last_round == first)
        if self.engine.moved == 0:
            raise CannotGoOn(
                "no update was accepted in any round, so there is no model: see the rounds for the "
                "reasons"
            )
        if self._evaluated and not any(self._evaluated):
            reasons = "; ".join(self.fleet.losses.values())
            raise CannotGoOn(
                "the weights could be evaluated in no round, so nobody knows what they are worth: "
                f"{reasons}. failures.log in the run folder has the stack traces"
            )
        owing = self.engine.judge.debts.pay_withheld
        model = digest_of_weights(self.keeping.model())
        self.recorder.end(self.last_round, model, over, owing)
        return over

    def play(self, number: int) -> None:
        """One round, and its record."""
        replicas = self._muster.replicas(number)
        slots = {replica.index: replica.names for replica in replicas}
        fewer = self.engine.balance.fewer(slots)
        self.recorder.open_round(number, self.engine.digest(), slots, self.fleet.present, fewer)
        played = self.engine.play(number, slots)
        self._idle_rounds = 0 if played.trained else self._idle_rounds + 1
        self._evaluated.append(played.test["loss"] is not None)
        # the checkpoint has to know which samples are left out, and why
        notes = self._new(notices(self.job, played, self.fleet.losses.values()))
        self._record(played)
        self.last_round = number
        if played.tainted and self.job.config.trust.rollback == "off":
            notes += self._new([self._stays(played)])
        self._say(notes)
        if played.tainted and self.job.config.trust.rollback == "auto":
            self._go_back(played)

    def _new(self, texts: Iterable[str]) -> list[str]:
        """Those that the user has not been told yet."""
        new = [text for text in texts if text not in self.notices]
        self.notices += new
        return new

    def _say(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.monitor.terminal.say(text, "yellow")

    def _stays(self, played: Round) -> str:
        """What a proven liar may have put in, where it is not taken out."""
        before = self.keeping.before(played.tainted[0])
        text = f"{tainted_rounds(played)}, which stays"
        if before is None:
            return text
        name = self.keeping.set_aside(before.round)
        return f"{text}; the weights after round {before.round}, checkpoints/{name}, do not"

    def _catch_up(self) -> None:
        """Do what a run may have been cut off before it did it."""
        self.keeping.best(self.last_round)
        contributions, trust = self.engine.judge.standing.contributions, self.job.config.trust
        tainted = contributions.tainted(self._banned_before, self.last_round + 1, trust.budget)
        bans = {n: "" for key, n in self._banned_before.items() if contributions.knows(key)}
        contributions.drop(self._banned_before)
        if tainted and trust.rollback == "auto":
            self._go_back(Round(self.last_round, {}, bans=bans, tainted=tainted))

    def _go_back(self, played: Round) -> None:
        """Take out what nodes that are proven to lie have put in before."""
        number = played.number
        before = self.keeping.before(played.tainted[0])
        after = before.round if before else 0
        contributions = self.engine.judge.standing.contributions
        contributions.drop(map(self.fleet.key, played.bans))
        if not contributions.may_go_back(after, number, self.job.config.rounds):
            text = f"{self._stays(played)}: as many rounds as the run has were taken back already"
            self._say(self._new([text]))
            return
        model = before.model if before else whole.tensors_of(self.job.initial_model())
        whole.restore(self.job.model, model)
        contributions.forget(after, number)
        outer, moved = (before.outer, before.moved) if before else ([], 0)
        self.engine.go_back(after, whole.flatten(self.job.model, self.job.layouts), outer, moved)
        back = Return(number, why_back(played, after), self.recorder.entries)
        self.keeping.checkpoint(after, before.metrics if before else "", self.notices, back)
        self.keeping.drop_after(after)
        self.monitor.take_back(after, back.reason)
        self.recorder.roll_back(after, back.reason)  # last: see `stands_at`
        self.keeping.best(after)
        self.last_round = after

    def _record(self, played: Round) -> None:
        """Write everything down; the ledger first, for a round that it does not know has not been
        played. The checkpoint is written while the next round is played, before whose end is
        recorded."""
        with self.engine.phase("record", played.number):
            offences = self.fleet.caller.take_offences()
            # of messages that no honest node sends, as their own signatures show
            proofs = [Proof((each.node,), each.text) for each in offences if each.proven]
            self.engine.convict(played, proofs)
            refusals = self._refusals(offences)
            played.notes[:0] = self.monitor.take_notes()
            self.keeping.finish()
            self.recorder.close_round(played, refusals)
            self.monitor.best.add(played.number, played.validation)
            self.keeping.best(played.number)
            played.seconds = self.engine.clock.seconds
            self.keeping.checkpoint(played.number, json.dumps(line_of(played)), self.notices)
        played.seconds = self.engine.clock.seconds
        self.monitor.round(played)

    def _refusals(self, offences: Sequence[Offence]) -> list[tuple[str, str]]:
        """What was not let in during the round, for the ledger."""
        received = [(name, f"it refused: {one_line(what)}") for name, what in refusals(self.fleet)]
        for name, what in received:
            self.monitor.tell(f"{name}: {what}", "")
        return [*((offence.node, offence.text) for offence in offences), *received]

    def _is_over(self) -> str:
        """Why there are no more rounds to play; "" if there are."""
        if self.last_round >= self.job.config.rounds:
            return f"all {self.job.config.rounds} rounds done"
        return self.monitor.best.no_better(self.last_round, self.job.config.train.patience)

    def _check_progress(self, at_first: bool) -> None:
        """What stops every replica in the first round alike stops them in all others too."""
        reasons = list(self.fleet.losses.values())
        alike = len({re.sub(r"\d+", "", reason) for reason in reasons}) == 1 and not self.fleet.dead
        goes_on = self.last_round in self.job.left_out.since.values()  # without those samples
        hopeless = self._idle_rounds and at_first and alike and not goes_on
        if self._idle_rounds == _MOST_IDLE_ROUNDS or hopeless:
            rounds = "1 round" if self._idle_rounds == 1 else f"{self._idle_rounds} rounds"
            raise CannotGoOn(
                f"no replica has finished its steps in {rounds}: {'; '.join(reasons)}. The stack "
                "traces are in failures.log in the run folder. Mend that and go on with resume=true"
            )
