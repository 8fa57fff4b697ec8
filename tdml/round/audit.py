"""The audit: one other replica repeats some windows of a replica's round. Where both end alike,
that is all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from tdml.job import Job
from tdml.node.agreement import repeated, trained
from tdml.node.messages import of_stage
from tdml.node.tape import Opening
from tdml.round.fleet import Fleet, Replica, ReplicaLost
from tdml.round.gather import Gathered, NotShown
from tdml.round.openings import broken_agreements, false_openings, is_log, left_out
from tdml.round.orders import RepeatOrder, Repetition
from tdml.round.repeat import Case, repeat
from tdml.round.settle import Settlement, Settler
from tdml.trust.judgement import Audited, Proof
from tdml.trust.numbers import LOOK

_NOBODY = "audit: nobody is there to repeat its work"
Answer = list[Repetition] | NotShown | ReplicaLost


@dataclass
class Audits:
    """What came of a round's audits: by replica, all proofs, and the nodes that did not answer."""

    by_replica: dict[int, Audited] = field(default_factory=dict)
    proofs: list[Proof] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)  # names
    settlements: list[Settlement] = field(default_factory=list)

    def add(
        self, case: Case, validator: int | None, clean: bool = False, unsettled: str = ""
    ) -> None:
        """The result of one window; without a validator it was the coordinator that has looked."""
        index, window = case.order.replica, case.window
        before = self.by_replica.get(index, Audited())
        validators: Mapping[int, int | None] = {**before.validators, window: validator}
        if clean and validator is None:
            looked = tuple(sorted({*before.looked, window} - {*before.clean}))
            self.by_replica[index] = replace(
                before, looked=looked, validators={window: None, **before.validators}
            )
        elif clean:
            windows = tuple(sorted({*before.clean, window}))
            self.by_replica[index] = replace(before, clean=windows, validators=validators)
        elif unsettled:
            self.by_replica[index] = replace(before, unsettled=unsettled, validators=validators)
        else:
            self.by_replica[index] = replace(
                before, lied=(*before.lied, window), validators=validators
            )


class Auditor:
    """Audits the rounds of a job."""

    def __init__(self, fleet: Fleet, job: Job, job_id: str) -> None:
        self._fleet, self._job, self.job_id = fleet, job, job_id
        self.settler = Settler(job)

    def audit(
        self, number: int, found: Gathered, weights: Sequence[torch.Tensor],
        windows: Mapping[int, Sequence[int]],
        draw: torch.Generator,
    ) -> Audits:  # fmt: skip
        """Have some windows repeated.

        Args:
            weights: the global weights that the round started from, by stage.
            windows: by replica.
            draw: chooses the validators; nobody can have foreseen it.
        """
        audits = Audits()
        openings = self._open(number, found, weights, sorted(windows), audits)
        cases = [
            Case(self._order(number, i, w), w, openings[i])
            for i in sorted(openings)
            for w in windows[i]
        ]
        validators = [self._validators(case, found, draw) for case in cases]
        answers = self._repeat(cases, [others[0] if others else None for others in validators])
        for case, others, answer in zip(cases, validators, answers, strict=True):
            self._conclude(case, others, answer, weights, draw, audits)
        clean = [
            case for case in cases if case.window in audits.by_replica[case.order.replica].clean
        ]
        for case, chance in zip(
            clean, torch.rand(len(clean), generator=draw).tolist(), strict=True
        ):
            if chance < LOOK:  # the two may be in league
                self._look(case, weights, draw, audits)
        return audits

    def _open(
        self,
        number: int,
        found: Gathered,
        weights: Sequence[torch.Tensor],
        indices: Sequence[int],
        audits: Audits,
    ) -> dict[int, list[Opening]]:
        """The tapes that are what their nodes had committed to."""
        shown, sound = self._fleet.each(_opened, self._fleet.seated(indices)), {}
        for index in indices:
            result = shown.get(index)
            if not isinstance(result, list):
                audits.silent |= _unshown(result, found.names[index])
                audits.by_replica[index] = Audited(
                    unsettled=f"audit: it has not shown its work: {result}"
                )
                continue
            proofs = self._false_tapes(number, found, weights, index, result)
            audits.proofs += proofs
            if proofs:
                audits.by_replica[index] = Audited(
                    lied=tuple(range(len(self._job.edges(index)) - 1))
                )
            else:
                sound[index] = result
        return sound

    def _false_tapes(
        self,
        number: int,
        found: Gathered,
        weights: Sequence[torch.Tensor],
        index: int,
        openings: list[Opening],
    ) -> list[Proof]:
        names = found.names[index]
        false = false_openings(self._job, weights, names, index, found.commitments[index], openings)
        return false or broken_agreements(
            self._job, self.job_id, index, trained(number), names, self._keys(names),
            [opening.log for opening in openings], [opening.signatures for opening in openings],
        )  # fmt: skip

    def _order(self, number: int, index: int, window: int) -> RepeatOrder:
        edges = self._job.edges(index)
        first, stop = edges[window : window + 2]
        batches = self._job.batches(index, number)[first:stop]
        return RepeatOrder(
            number, self._job.longest, index, first, window == len(edges) - 2, batches
        )

    def _validators(self, case: Case, found: Gathered, draw: torch.Generator) -> list[Replica]:
        """Others on machines of the same kind, in random order: they repeat each other bit for
        bit."""
        [owner] = self._fleet.seated([case.order.replica])
        others = self._fleet.ready(index for index in found.judged if index != owner.index)
        alike = [other for other in others if other.kind == owner.kind]
        return [alike[i] for i in torch.randperm(len(alike), generator=draw).tolist()]

    def _repeat(
        self, cases: Sequence[Case], validators: Sequence[Replica | None]
    ) -> list[Answer | None]:
        """Every window by its validator, all validators at the same time; None where there is no
        answer."""
        tasks: dict[int, list[int]] = {}
        for place, validator in enumerate(validators):
            if validator is not None:
                tasks.setdefault(validator.index, []).append(place)

        answers: list[Answer | None] = [None] * len(cases)

        def work(validator: Replica) -> None:
            for place in tasks[validator.index]:
                answers[place] = self._repeat_one(cases[place], validator)

        self._fleet.each(work, self._fleet.ready(sorted(tasks)))
        return answers

    def _repeat_one(self, case: Case, validator: Replica) -> Answer:
        [owner] = self._fleet.seated([case.order.replica])
        try:
            return repeat(case.order, case, owner, validator)
        except NotShown as error:
            return error
        except ReplicaLost as loss:
            if loss.replica == owner.index:
                return loss
            raise

    def _conclude(
        self, case: Case, validators: Sequence[Replica], answer: Answer | None,
        weights: Sequence[torch.Tensor], draw: torch.Generator, audits: Audits,
    ) -> None:  # fmt: skip
        """By one validator after the other, until one confirms the window or its owner is proven to
        lie."""
        [owner] = self._fleet.seated([case.order.replica])
        if audits.by_replica.get(owner.index, Audited()).lied:
            return
        outcome = _NOBODY
        for place, validator in enumerate(validators):
            if place:
                answer = self._fleet.each(lambda v: self._repeat_one(case, v), [validator]).get(
                    validator.index
                )
            outcome = self._hear(case, owner, validator, answer, weights, audits)
            if not outcome:
                return
        if outcome == _NOBODY:
            self._look(case, weights, draw, audits)
        else:
            audits.add(case, None, unsettled=outcome)

    def _hear(
        self, case: Case, owner: Replica, validator: Replica, answer: Answer | None,
        weights: Sequence[torch.Tensor],
        audits: Audits,
    ) -> str:  # fmt: skip
        """What one validator's answer leads to; why another has to be asked, or "" if the window is
        settled."""
        if answer is None:
            return "audit: who was to repeat its work did not answer"
        if not isinstance(answer, list):
            self._note_unshown(case, owner, validator, answer, audits)
            return ""
        if false := self._false_answer(case, validator, answer):
            audits.proofs += false
            return "audit: who was to repeat its work has lied"
        if case.confirmed_by(answer):
            audits.add(case, validator.index, clean=True)
            return ""
        return self._settle(case, owner, validator, answer, weights, audits)

    def _note_unshown(
        self,
        case: Case,
        owner: Replica,
        validator: Replica,
        answer: NotShown | ReplicaLost,
        audits: Audits,
    ) -> None:
        """Of an owner that did not show the state that a window begins with."""
        if isinstance(answer, NotShown):
            audits.proofs.append(Proof((owner.names[answer.stage],), f"audit: {answer}"))
            audits.add(case, validator.index)
        else:
            audits.silent |= _unshown(answer, owner.names)
            audits.add(case, None, unsettled=f"audit: it has not shown its work: {answer}")

    def _settle(
        self, case: Case, owner: Replica, validator: Replica, answer: list[Repetition],
        weights: Sequence[torch.Tensor],
        audits: Audits,
    ) -> str:  # fmt: skip
        """The dispute between the two; why another validator has to be asked, or ""."""
        try:
            settled = self.settler.settle(case, owner, validator, answer, weights)
        except NotShown as error:
            audits.proofs.append(Proof((owner.names[error.stage],), f"audit: {error}"))
            audits.add(case, validator.index)
            return ""
        except ReplicaLost as loss:
            audits.silent |= (
                _unshown(loss, owner.names) if loss.replica == owner.index else set(loss.silent)
            )
            return f"audit: a dispute could not be settled: {loss}"
        audits.settlements.append(settled)
        audits.proofs += settled.proofs
        if set(settled.blamed) & set(owner.names):
            audits.add(case, validator.index)
            return ""
        return settled.unsettled or "audit: who was to repeat its work has lied"

    def _look(
        self, case: Case, weights: Sequence[torch.Tensor], draw: torch.Generator, audits: Audits
    ) -> None:
        """The coordinator looks itself, at one step of one stage."""

        def look(owner: Replica) -> list[Settlement] | NotShown:
            try:
                return list(filter(None, [self.settler.look(case, owner, weights, draw)]))
            except NotShown as error:
                return error

        [owner] = self._fleet.seated([case.order.replica])
        result = self._fleet.each(look, self._fleet.ready([owner.index])).get(owner.index)
        if result is None:
            audits.silent |= set(owner.names)
            audits.add(case, None, unsettled="audit: it did not repeat its work")
        elif isinstance(result, NotShown):
            audits.proofs.append(Proof((owner.names[result.stage],), f"audit: {result}"))
            audits.add(case, None)
        elif not result:
            audits.add(case, None, clean=True)
        for settled in result if isinstance(result, list) else []:
            audits.settlements.append(settled)
            audits.proofs += settled.proofs
            audits.add(case, None, unsettled="" if settled.proofs else settled.unsettled)

    def _false_answer(
        self, case: Case, validator: Replica, answers: Sequence[Repetition]
    ) -> list[Proof]:
        """The validator's nodes whose answers no honest node gives."""
        names, steps = validator.names, len(case.order.batches)
        channels = self._job.channels
        for stage, answer in enumerate(answers):
            formed = is_log(answer.log, steps, channels) and len(answer.signatures) == len(names)
            if not formed or left_out(answer.log, of_stage(channels, stage)):
                return [
                    Proof(
                        (names[stage],),
                        f"audit: stage {stage} has not repeated what it was to repeat",
                    )
                ]
        return broken_agreements(
            self._job, self.job_id, validator.index, repeated(case.order), names, self._keys(names),
            [answer.log for answer in answers], [answer.signatures for answer in answers],
        )  # fmt: skip

    def _keys(self, names: Sequence[str]) -> list[str]:
        return [self._fleet.key(name) for name in names]


def _unshown(loss: ReplicaLost | None, names: Sequence[str]) -> set[str]:
    """Who of a replica has not shown its work: those that do not answer, or, where all do, any of
    them."""
    return set(loss.silent if loss is not None and loss.silent else names)


def _opened(replica: Replica) -> list[Opening] | ReplicaLost:
    try:
        return replica.open()
    except ReplicaLost as loss:
        return loss
