"""The audit: another replica repeats some windows of a replica's round, and finds the same."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from tdml.protocol.orders import Repetition, ReplicaLost
from tdml.round.audits import Audits
from tdml.round.fleet import Fleet, Replica
from tdml.round.gather import Gathered
from tdml.round.job import Job
from tdml.round.look import Finding, Look
from tdml.round.openings import false_answer
from tdml.round.repeat import Window, repeat, window_of
from tdml.round.settler import LOOK_COST, Keep, Settler
from tdml.round.signatures import Signers
from tdml.round.traces import open_traces, silent_nodes
from tdml.round.validators import asking_order, blame_machines, on_majority_kind, same_kind
from tdml.round.vectors import DigestMismatch
from tdml.trust.judgement import Proof
from tdml.trust.numbers import LOOK

NoStart = DigestMismatch | ReplicaLost  # the owner did not show the state that a window starts from
Answer = list[Repetition] | NoStart


class Auditor:
    """Audits rounds: has windows repeated by others, and settles what comes out otherwise."""

    def __init__(self, fleet: Fleet, job: Job, keep: Keep) -> None:
        self._fleet, self._job, self.settler = fleet, job, Settler(fleet, job, keep)

    def audit(
        self,
        gathered: Gathered,
        chosen: Mapping[int, Sequence[int]],
        draw: torch.Generator,
        audits: Audits,
    ) -> None:
        """Have some windows repeated, and looked at.

        Args:
            chosen: the windows' numbers, by replica.
            draw: chooses the validators; nobody can have foreseen it.
            audits: the results are added here.
        """
        openings = open_traces(self._fleet, self._job, gathered, sorted(chosen), audits)
        windows = [
            window_of(self._job, gathered.start, owner, number, openings[owner.index])
            for owner in self._fleet.mustered(sorted(openings))
            for number in chosen[owner.index]
        ]
        owners = {window.owner.index: window.owner for window in windows}
        others = {i: same_kind(self._fleet, gathered, o, draw) for i, o in owners.items()}
        validators = [asking_order(w, others[w.owner.index], audits) for w in windows]
        answers = self._repeat(windows, validators, audits)
        for window, asked, answer in zip(windows, validators, answers, strict=True):
            self._conclude(window, gathered, asked, answer, draw, audits)
        clean = [window for window in windows if audits.is_clean(window)]
        chances = torch.rand(len(clean), generator=draw).tolist()
        trusted = on_majority_kind(self._fleet, gathered)
        for window, chance in zip(clean, chances, strict=True):
            # owner and validator may be accomplices, above all on a kind that only they are on
            if chance < LOOK or window.owner.index not in trusted:
                self._look(window, gathered, draw, audits)
        for index in sorted(openings.keys() - trusted):
            audits.doubt(index)

    def _repeat(
        self, windows: Sequence[Window], validators: Sequence[Sequence[Replica]], audits: Audits
    ) -> list[Answer | None]:
        """Have every window repeated by the first of its validators, all at the same time. None
        where there is no answer."""
        tasks: dict[int, list[int]] = {}
        for place, others in enumerate(validators):
            for validator in others[:1]:
                tasks.setdefault(validator.index, []).append(place)
        answers: list[Answer | None] = [None] * len(windows)

        def work(validator: Replica) -> None:
            for place in tasks[validator.index]:
                answers[place] = self._repeat_one(windows[place], validator)

        done = self._fleet.each(work, self._fleet.ready(sorted(tasks)))
        audits.unanswered |= tasks.keys() - done.keys()
        return answers

    def _repeat_one(self, window: Window, validator: Replica) -> Answer:
        try:
            return repeat(self._job, window, validator)
        except DigestMismatch as error:
            return error
        except ReplicaLost as loss:
            if loss.replica == window.owner.index:
                return loss
            raise

    def _conclude(
        self,
        window: Window,
        gathered: Gathered,
        validators: Sequence[Replica],
        answer: Answer | None,
        draw: torch.Generator,
        audits: Audits,
    ) -> None:
        """Ask one validator after the other, until one confirms it, or its owner has lied."""
        owner = window.owner
        if audits.of(owner.index).lied:
            return
        why, ends = "", Counter[tuple[str, ...]]()
        accusers: list[tuple[Replica, list[Repetition]]] = []
        validators = asking_order(window, validators, audits) if answer is None else validators
        for place, validator in enumerate(validators):
            if place or answer is None:  # the first may have failed over another window
                window = window.anew()
                answer = self._ask(window, validator)
            unsettled = self._judge_answer(window, validator, answer, audits)
            if unsettled is None:
                # settle with those that the owner's liars have kept from being confirmed
                for accuser, told in accusers if audits.is_clean(window) else ():
                    self._settle(window, validator, accuser, told, audits)
                return
            why = unsettled
            if isinstance(answer, list):
                ends[tuple(each.end for each in answer)] += 1
                unsure = validator.index in audits.unsure(window)
                accusers += [(validator, answer)] if unsure else []
            if audits.any_silent(owner.names) and max(ends.values(), default=0) > 1:
                break  # two have found the same: no more need to be asked
        doubted = audits.left_undecided(window) or audits.any_silent(owner.names)
        if doubted and validators:
            audits.left_open(window, why)
            if blame_machines(ends, audits.unsure(window), validators, len(gathered.start.steps)):
                self.settler.kinds.unrepeatable.add(owner.kind)
        else:  # nobody can repeat it, or nobody does so honestly
            self._look(window, gathered, draw, audits)

    def _ask(self, window: Window, validator: Replica) -> Answer | None:
        """Ask one validator to repeat a window; None if it does not answer."""
        ready = self._formed(validator, window)
        return self._fleet.each(lambda v: self._repeat_one(window, v), ready).get(validator.index)

    def _formed(self, replica: Replica, window: Window) -> Sequence[Replica]:
        """[replica], formed again if it was lost over what it repeated, with the weights that the
        round began from. [] if that fails, or if it is on another kind of machine now: its round is
        judged by the kind that it was on then."""
        if not self._fleet.ready([replica.index]):
            self._fleet.form([replica.index])
            given = window.weights, -window.order.round, self._job.frozen  # a version as debts'
            self._fleet.each(lambda r: r.load(*given), self._fleet.ready([replica.index]))
        return [r for r in self._fleet.ready([replica.index]) if r.kind == replica.kind]

    def _judge_answer(
        self, window: Window, validator: Replica, answer: Answer | None, audits: Audits
    ) -> str | None:
        """Take in one validator's answer. Returns why another has to be asked; None if settled."""
        if answer is None:
            audits.unanswered.add(validator.index)
            return "audit: who was to repeat its work did not answer"
        if not isinstance(answer, list):
            self._note_no_start(window, validator, answer, audits)
            return None
        audits.steps += len(window.order.batches)
        signers = Signers.of(self._fleet, validator)
        if false := false_answer(self._job, signers, window, answer):
            audits.proofs += false
            return "audit: who was to repeat its work has lied"
        if window.confirmed_by(answer):
            audits.found_clean(window, validator.index)
            return None
        if audits.any_silent(window.owner.names):
            return "audit: a dispute could not be settled: it repeats nothing of its own"
        return self._settle(window, window.owner, validator, answer, audits)

    def _note_no_start(
        self, window: Window, validator: Replica, answer: NoStart, audits: Audits
    ) -> None:
        """Note that the owner has not shown the state that a window starts from."""
        names = window.owner.names
        if isinstance(answer, DigestMismatch):
            audits.proofs.append(Proof((names[answer.stage],), f"audit: {answer}"))
            audits.found_lied(window, validator.index)
        else:
            audits.silent |= silent_nodes(answer, names)
            audits.left_open(window, f"audit: it has not shown its work: {answer}")

    def _settle(
        self,
        window: Window,
        found: Replica,
        validator: Replica,
        answer: list[Repetition],
        audits: Audits,
    ) -> str | None:
        """Settle the dispute between a validator and the replica that has `found` what the owner
        has committed to. Returns why another validator has to be asked, or None."""
        owner = window.owner
        wanted = {each.index: each for each in (owner, validator, found)}
        formed = {i: r for i, each in wanted.items() for r in self._formed(each, window)}
        if len(formed) < len(wanted):
            audits.silent |= set() if owner.index in formed else set(owner.names)
            return "audit: a dispute could not be settled: one of the two can do nothing any more"
        try:
            window = replace(window, owner=formed[owner.index])
            parties = formed[found.index], formed[validator.index]
            settled = self.settler.settle(window, *parties, answer)
        except DigestMismatch as error:
            audits.proofs.append(Proof((owner.names[error.stage],), f"audit: {error}"))
            audits.found_lied(window, validator.index)
            return None
        except ReplicaLost as loss:
            own = loss.replica == owner.index
            audits.silent |= silent_nodes(loss, owner.names) if own else set(loss.silent)
            return f"audit: a dispute could not be settled: {loss}"
        audits.settlements += settled
        audits.proofs += [proof for each in settled for proof in each.proofs]
        if {name for each in settled for name in each.blamed} & set(owner.names):
            audits.found_lied(window, validator.index)
            return None
        open_ones = (each.unsettled for each in settled if each.unsettled)
        return next(open_ones, "audit: who was to repeat its work has lied")

    def _look(
        self, window: Window, gathered: Gathered, draw: torch.Generator, audits: Audits
    ) -> None:
        """Have the coordinator look at one step of one stage itself. What it finds wrong is settled
        with those that have not repeated the window yet; by itself where nobody else can."""
        owner = window.owner
        audits.looks += LOOK_COST * len(window.order.batches)
        before = audits.of(owner.index).validators.get(window.number)
        drawn = asking_order(window, same_kind(self._fleet, gathered, owner, draw), audits)
        others = [validator for validator in drawn if validator.index != before]
        look = self._take_look(window, draw, audits, alone=not others)
        if look is None:
            audits.left_open(window, "audit: it did not repeat its work")
            return
        # others have found it, whose word counts
        stands = audits.is_clean(window) and owner.index in on_majority_kind(self._fleet, gathered)
        match look.finding:
            case Finding.RIGHT:
                audits.looked_right(window)
            case Finding.LIE:
                assert look.settlement is not None
                audits.settlements.append(look.settlement)
                audits.proofs += look.settlement.proofs
                audits.found_lied(window, None)
            case Finding.UNSETTLED if others:
                self._repeat_by_others(window, others, audits)
            case Finding.UNSETTLED:
                if self._job.config.topology.most > 1:  # it owes this round until it is found right
                    audits.silent |= set(owner.names)
                audits.left_open(window, look.why)
            case Finding.UNREADABLE:
                audits.notes.append(look.why)
                if before is None:  # nor has anybody else repeated it
                    audits.left_open(window, f"audit: {look.why}")
            case Finding.DRAWS_DIFFER if stands:
                pass
            case Finding.DRAWS_DIFFER | Finding.UNKNOWN:
                audits.leave_unknown(window)

    def _take_look(
        self, window: Window, draw: torch.Generator, audits: Audits, alone: bool
    ) -> Look | None:
        """Have the owner show a step to the coordinator; None if it does not answer. If it is
        `alone`, nobody else can repeat the window."""
        owner = window.owner
        silent = set(owner.names)  # any of them, unless it is known who

        def look(shows: Replica) -> Look:
            try:
                return self.settler.look(replace(window, owner=shows), draw, alone)
            except ReplicaLost as loss:
                silent.intersection_update(silent_nodes(loss, owner.names))
                raise

        taken = self._fleet.each(look, self._formed(owner, window)).get(owner.index)
        audits.silent |= set() if taken else silent
        return taken

    def _repeat_by_others(self, window: Window, others: Sequence[Replica], audits: Audits) -> None:
        """Have one replica after the other repeat a window that the coordinator has not found
        right, until one of them finds something else than the owner, and that is settled."""
        for validator in others:
            window = window.anew()
            answer = self._ask(window, validator)
            if isinstance(answer, list) and window.confirmed_by(answer):
                audits.steps += len(window.order.batches)
            elif self._judge_answer(window, validator, answer, audits) is None:
                return
            elif audits.any_silent(window.owner.names):
                break
        audits.left_open(window, "audit: the coordinator does not find what others repeat")
