"""Settles disputes over windows: each is narrowed to one item of one step of one stage, and the
coordinator recomputes that."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from tdml.models.layout import change
from tdml.protocol.orders import Repetition, ReplicaLost
from tdml.round.copies import Copies
from tdml.round.evaluator import Evaluator
from tdml.round.fleet import Fleet, Replica
from tdml.round.job import Job
from tdml.round.look import Finding, Look
from tdml.round.machine_kinds import MachineKinds
from tdml.round.referee import CannotRead, Recomputation, Referee
from tdml.round.repeat import Window, repeat
from tdml.round.settlement import Dispute, Settlement
from tdml.round.shown import StepShown, shown_by
from tdml.round.signatures import Signers
from tdml.round.transcripts import (
    Lied,
    committed,
    common_ground,
    repeat_by_step,
    step_end,
    transcript_of,
    window_items,
)
from tdml.round.vectors import DigestMismatch
from tdml.trust.dispute import END, STATE, Item, Transcript, agreed, first_differences, liars
from tdml.trust.judgement import Proof
from tdml.trust.numbers import AGAIN, STEPS_BEFORE

# keeps the evidence of a conviction; returns the digests of its files, by name
Keep = Callable[[dict[str, torch.Tensor]], dict[str, str]]
LOOK_COST = 2  # times the steps of a window: its owner repeats it to tell all, and to show one


class Settler:
    """Settles the disputes of a job. `kinds` is what they have taught it about machines.

    Honest code may not repeat itself: it may keep something that no state holds. So nobody is
    convicted by a single recomputation. The coordinator takes the step again and again, and every
    party that it confirms repeats as many steps as a round has; if anything comes out otherwise,
    nobody is to blame.
    """

    def __init__(self, fleet: Fleet, job: Job, keep: Keep) -> None:
        """`keep` is called at once: evidence may be as large as a state of a whole stage."""
        self.fleet, self.job, self._keep = fleet, job, keep
        copies = Copies(job)
        self.referee, self.evaluator = Referee(job, copies), Evaluator(job, copies)
        self.kinds = MachineKinds(self.referee)

    def settle(
        self,
        window: Window,
        found: Replica,
        validator: Replica,
        answers: Sequence[Repetition],
    ) -> list[Settlement]:
        """Settle the dispute between the owner of a window and a validator that has found something
        else. Stages that part in the same step are settled one by one; what the first of them have
        proven stays proven if nobody answers for the next.

        Args:
            found: who has found what the owner has committed to: the owner itself; or another
                replica in its place, for a liar at the owner may keep it from being confirmed.
            answers: what the validator has found.

        Raises:
            ReplicaLost: one of them does not answer.
            DigestMismatch: the owner shows something else than it has committed to.
        """
        parties = {party.index: party for party in (found, validator)}
        own = replace(committed(self.job, window), party=found.index)
        before = [own, transcript_of(self.job, window, validator, answers)]
        dispute = Dispute(window, parties, before)
        settled: list[Settlement] = []
        try:
            again = [self._by_step(window, party) for party in parties.values()]
            dispute = replace(dispute, transcripts=[*before, *again])
            parted = first_differences(dispute.transcripts, window_items(self.job, window))
            if not parted:
                return [dispute.leave_open("it was repeated once more, and all agreed")]
            for item in parted:
                settled.append(self._decide(dispute, item))
        except Lied as lie:
            settled.append(dispute.convict(lie.proofs))
        except CannotRead as error:
            settled.append(dispute.leave_open(f"audit: {error}"))
        except (DigestMismatch, ReplicaLost):
            if not any(each.proofs for each in settled):
                raise
        return settled

    def look(self, window: Window, draw: torch.Generator, alone: bool) -> Look:
        """Have the coordinator look itself at one step of one stage, which nobody can foresee: at
        what the stage sends, and at the state that the step leads to, or the round's update.

        Args:
            alone: nobody else can repeat the window. Else a look convicts nobody: what it finds is
                settled with the others.

        Raises:
            ReplicaLost: the owner does not answer.
        """
        owner, told = window.owner, committed(self.job, window)
        dispute = Dispute(window, {owner.index: owner}, [told], alone)
        try:
            own = self._by_step(window, owner)
            return self._look(replace(dispute, transcripts=[told, own]), own, draw)
        except Lied as lie:
            return Look.settled(dispute.convict(lie.proofs))
        except DigestMismatch as error:  # as of the honest, where code does not repeat itself
            return Look(Finding.UNSETTLED, f"audit: {error}")
        except CannotRead as error:
            return Look(Finding.UNREADABLE, str(error))

    def _look(self, dispute: Dispute, own: Transcript, draw: torch.Generator) -> Look:
        """Look at a step that is drawn, of those that the owner has repeated as it had told; or at
        the first that it has not."""
        window, items = dispute.window, window_items(self.job, dispute.window)
        if parted := first_differences(dispute.transcripts, items):
            return Look.settled(self._decide(dispute, parted[0]))
        steps, stages = len(window.order.batches), len(window.owner.names)
        place = int(torch.randint(steps * stages, (), generator=draw))
        return self._look_at(dispute, own, step_end(window, place // stages, place % stages))

    def _look_at(self, dispute: Dispute, own: Transcript, ends: Item) -> Look:
        """Look at the step of a stage that ends with an item: see `look`. What the stage sends is
        checked, too: liars at both ends of a channel have states that follow from a false
        message."""
        owner = dispute.window.owner
        shown, unknown = self._show(dispute, ends, owner), list[Recomputation]()
        for item in (*self._sent_in(ends), ends):
            recomputed = self.referee.recompute(dispute.window, item, shown.for_item(item))
            right = self.kinds.is_right(
                recomputed, own.digests[item], owner.kind, recomputed.shown.value
            )
            if right is False:
                return Look.settled(self._conclude(dispute, recomputed, [owner.index]))
            unknown += [recomputed] if right is None else []
        if unknown:
            drew = all(each.drew for each in unknown)
            return Look(Finding.DRAWS_DIFFER if drew else Finding.UNKNOWN)
        self.kinds.confirmed.add((owner.kind, ends.stage))
        return Look(Finding.RIGHT)

    def _sent_in(self, ends: Item) -> list[Item]:
        """The messages that the stage of an item sends in the same step."""
        channels = enumerate(self.job.channels)
        return [Item(ends.step, ends.stage, n) for n, c in channels if c.sender == ends.stage]

    # Who has lied

    def _decide(self, dispute: Dispute, item: Item) -> Settlement:
        """Settle a dispute by recomputing an item on which the transcripts part."""
        shown = self._shown_by_parties(dispute, item)
        if not shown:
            return dispute.leave_open("nobody shows the step on which the transcripts part")
        recomputed = self.referee.recompute(dispute.window, item, next(iter(shown.values())))
        right: dict[str, bool | None] = {}
        for transcript in dispute.transcripts:
            if item in transcript.digests:
                party, digest = transcript.party, transcript.digests[item]
                value = shown[party].value if party in shown else None
                right[digest] = self.kinds.is_right(
                    recomputed, digest, dispute.parties[party].kind, value
                )
        return self._conclude(dispute, recomputed, liars(dispute.transcripts, item, right))

    def _conclude(
        self, dispute: Dispute, recomputed: Recomputation, guilty: Sequence[int]
    ) -> Settlement:
        """The settlement by which the guilty are convicted, if the recomputation is sure."""
        place = self._place(dispute.window, recomputed.item)
        if not guilty:
            return dispute.leave_open(f"audit: recomputation of {place} confirms nobody", place)
        if not self._is_sure(dispute, recomputed, guilty):
            text = f"audit: {place}: not all that was recomputed, and repeated, agrees"
            return dispute.leave_open(text, place, unsure=True)
        reason = f"audit: {place} is not what recomputation finds"
        stage, parties = recomputed.item.stage, dispute.parties
        proofs = [Proof((parties[party].names[stage],), reason) for party in guilty]
        exhibit = {f"truth{i}": tensor for i, tensor in enumerate(recomputed.value)}
        return dispute.convict(proofs, place, self._keep(exhibit))

    # How sure that is

    def _is_sure(self, dispute: Dispute, recomputed: Recomputation, guilty: Sequence[int]) -> bool:
        """Whether a recomputation may convict: the coordinator finds the same again and again, and
        so does every party that it confirms. Where nobody else can repeat the owner's work, the
        coordinator must have found a step of this stage right before, on the owner's kind of
        machine."""
        item, owner = recomputed.item, dispute.window.owner
        confirmed = [p for index, p in dispute.parties.items() if index not in guilty]
        # steps before the disputed one that cannot be taken count as further ones of it
        times = AGAIN * (1 + STEPS_BEFORE - (min(STEPS_BEFORE, item.step) if confirmed else 0))
        known = dispute.alone and (owner.kind, item.stage) in self.kinds.confirmed
        if not (confirmed or known) or owner.kind in self.kinds.unrepeatable:
            return False
        return self._reproduces(dispute, recomputed, times) and all(
            self._earlier_steps_hold(dispute, item, party)
            and self._party_reproduces(dispute, party)
            for party in confirmed
        )

    def _reproduces(self, dispute: Dispute, recomputed: Recomputation, times: int) -> bool:
        """Whether the coordinator finds the same every time that it takes the step again. If not,
        that is remembered for the rest of the job: no node can have made it so."""
        if self.referee.reproduces(recomputed, times):
            return True
        self.kinds.unrepeatable |= {dispute.window.owner.kind, self.referee.kind}
        return False

    def _earlier_steps_hold(self, dispute: Dispute, item: Item, party: Replica) -> bool:
        """Whether the coordinator finds what a party shows of the last steps before an item, every
        time, although all parties agree on them: where code does not repeat itself, the disputed
        step alone may happen to hide that. Raises as `settle` where somebody shows nothing, which
        says nothing of the code."""
        for step in range(max(0, item.step - STEPS_BEFORE), item.step):
            earlier = Item(step, item.stage)
            try:
                shown = self._show(dispute, earlier, party)
                recomputed = self.referee.recompute(dispute.window, earlier, shown)
            except DigestMismatch as error:
                if error.replica != party.index:
                    raise  # the owner keeps from it what it starts from
                return False
            digest = agreed(dispute.transcripts, earlier)
            right = self.kinds.is_right(recomputed, digest, party.kind, recomputed.shown.value)
            if not self._reproduces(dispute, recomputed, AGAIN) or not right:
                return False
        return True

    def _party_reproduces(self, dispute: Dispute, party: Replica) -> bool:
        """Whether a party finds the same once more, when it repeats the window as many times as the
        round has windows. Raises as `settle`."""
        window = dispute.window
        more = [self._by_step(window, party) for _ in window.openings[0].states]
        transcripts = [*dispute.by(party.index), *more]
        return not first_differences(transcripts, window_items(self.job, window))

    # One item

    def _by_step(self, window: Window, party: Replica) -> Transcript:
        return repeat_by_step(self.job, window, party, Signers.of(self.fleet, party))

    def _shown_by_parties(self, dispute: Dispute, item: Item) -> dict[int, StepShown]:
        """What each party shows of the step of an item, without the parties that cannot show it.

        Raises:
            DigestMismatch: the owner does not give others the state that they start from.
            ReplicaLost: the same; or a party that cannot show the step is on another kind of
                machine than the coordinator's: what it has told may be right nevertheless, and
                others may have kept it from showing the step.
        """
        shown = {}
        for index, party in dispute.parties.items():
            try:
                shown[index] = self._show(dispute, item, party)
            except DigestMismatch as error:
                if error.replica != index:
                    raise
                if party.kind != self.referee.kind:
                    raise ReplicaLost(index, str(error)) from error
            except ReplicaLost as error:
                if error.replica != index or party.kind != self.referee.kind:
                    raise
        return shown

    def _show(self, dispute: Dispute, item: Item, party: Replica) -> StepShown:
        """Have a party repeat the window and show the step of an item."""
        window, owner = dispute.window, dispute.window.owner
        ground = common_ground(self.job, window, dispute.transcripts, item)
        repeat(self.job, window.anew(own=party is owner, show=item.step), party)
        begins = window.order.first + item.step == 0
        if item.channel != END or party is owner:
            return shown_by(self.job, party, item, begins, ground)
        # a validator makes no update: it follows from its state
        shown = shown_by(self.job, party, Item(item.step, item.stage), begins, ground)
        start, state = window.weights[item.stage], shown.value[0]
        inner = [state[len(start) :]] if self.job.inner_size(item.stage) else []
        return replace(shown, value=[change(start, state[: len(start)]), *inner])

    def _place(self, window: Window, item: Item) -> str:
        """An item in words, such as "the state of stage 1 after step 7 of replica 2"."""
        end = "update and inner state" if self.job.config.sync.keeps_inner_state else "update"
        what = {STATE: f"the state of stage {item.stage}", END: f"the {end} of stage {item.stage}"}
        text = what.get(item.channel) or str(self.job.channels[item.channel])
        order = window.order
        return f"{text} after step {order.first + item.step} of replica {order.replica}"
