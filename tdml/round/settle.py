"""A dispute over a window: it is narrowed to one item of one step of one stage, and that is
recomputed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from tdml.models.layout import change
from tdml.round.fleet import Replica, ReplicaLost
from tdml.round.gather import NotShown
from tdml.round.openings import is_log, said_of
from tdml.round.orders import Repetition
from tdml.round.recompute import CommonGround, Referee, StepShown, Truth, shown_by
from tdml.round.repeat import Claim, repeat
from tdml.round.settlement import Dispute, Settlement
from tdml.run.job import Job
from tdml.trust.dispute import END, STATE, Item, Transcript, agreed, first_difference, items, liars
from tdml.trust.judgement import Proof
from tdml.trust.numbers import AGAIN, ERRORS, STEPS_BEFORE
from tdml.trust.tolerance import Tolerance


class Settler:
    """Settles the disputes of a job. `tolerance` is what the steps of different machines have
    taught it.

    Honest code may keep something where nobody looks, so that it gives one result here and another
    there. So nobody is convicted by a single recomputation: the coordinator takes the step again
    and again, and whoever it confirms repeats a round's worth of steps; if anything comes out
    otherwise, nobody is to blame.
    """

    def __init__(self, job: Job) -> None:
        self._job, self.tolerance, self.referee = job, Tolerance(), Referee(job)
        self._senders = [channel.sender for channel in job.channels]
        # kinds of machines and stages of which it has found a step right that nobody disputed
        self._confirmed: set[tuple[str, int]] = set()
        # kinds of machines that do not repeat what they, or the coordinator, have found: what they
        # differ in may be anybody's, so none of them is convicted by it
        self.unrepeatable: set[str] = set()

    def settle(
        self,
        claim: Claim,
        owner: Replica,
        validator: Replica,
        answers: Sequence[Repetition],
        weights: Sequence[torch.Tensor],
    ) -> Settlement:
        """Between who was audited and who has found something else.

        Raises:
            ReplicaLost: one of them does not answer.
            NotShown: the owner shows something else than it had bound itself to.
        """
        accounts = [self._committed(claim, owner), self._told(claim, validator, answers)]
        accounts += [self._told_again(claim, owner, party) for party in (owner, validator)]
        parties = {owner.index: owner, validator.index: validator}
        return self._decide(Dispute(claim, owner, parties, accounts, weights))

    def look(
        self,
        claim: Claim,
        owner: Replica,
        weights: Sequence[torch.Tensor],
        draw: torch.Generator,
        alone: bool,
    ) -> Settlement | None:
        """The coordinator's own look at one step of one stage of a window, which nobody can
        foresee; None if nothing is wrong with it. It convicts nobody unless the owner is `alone`:
        others can repeat the window, and then it is settled with them.

        Raises:
            ReplicaLost, NotShown: the owner does not answer, or shows something else than it has
                told. Where code does not repeat itself, that happens to the honest.
        """
        accounts = [self._committed(claim, owner), self._told_again(claim, owner, owner)]
        dispute = Dispute(claim, owner, {owner.index: owner}, accounts, weights)
        if first_difference(accounts, self._walk(claim)) is not None:
            return self._decide(dispute, alone)
        steps, stages = len(claim.order.batches), len(owner.names)
        place = int(torch.randint(steps * stages, (), generator=draw))
        item = Item(place // stages, place % stages)
        shown = self._show(dispute, owner, item, self._words(claim, accounts, item))
        truth = self.referee.take(claim.order, weights[item.stage], item, shown)
        if self._is_right(truth, item, accounts[1].words[item], owner.kind, shown.made):
            self._confirmed.add((owner.kind, item.stage))
            return None
        return self._judged(dispute, item, (f"{owner.index}",), truth, shown, alone)

    # The accounts

    def _committed(self, claim: Claim, owner: Replica) -> Transcript:
        words = said_of(self._job.channels, claim.logs)
        steps, last = len(claim.order.batches), END if claim.order.last else STATE
        words |= {Item(steps - 1, stage, last): end for stage, end in enumerate(claim.ends())}
        return Transcript(f"{owner.index}", words)

    def _told_again(self, claim: Claim, owner: Replica, party: Replica) -> Transcript:
        """By who repeats it once more, now with the state after every step."""
        steps = len(claim.order.batches)
        answers = repeat(replace(claim.order, own=party is owner, each=True), claim, owner, party)
        for name, answer in zip(party.names, answers, strict=True):
            if not is_log(answer.log, steps, self._job.channels) or len(answer.states) != steps:
                raise ReplicaLost(
                    party.index, f"{name}: it has not said what every step led to", [name]
                )
        return self._told(claim, party, answers)

    def _told(self, claim: Claim, party: Replica, answers: Sequence[Repetition]) -> Transcript:
        words = said_of(self._job.channels, [answer.log for answer in answers])
        steps, last = len(claim.order.batches), END if claim.order.last else STATE
        for stage, answer in enumerate(answers):
            words |= {Item(step, stage): state for step, state in enumerate(answer.states)}
            words[Item(steps - 1, stage, last)] = answer.end
        return Transcript(f"{party.index}", words)

    def _walk(self, claim: Claim) -> Iterator[Item]:
        steps, stages = len(claim.order.batches), self._job.config.topology.stages
        return items(steps, self._senders, stages, claim.order.last)

    # The item

    def _decide(self, dispute: Dispute, alone: bool = False) -> Settlement:
        claim, accounts = dispute.claim, dispute.accounts
        item = first_difference(accounts, self._walk(claim))
        base = Settlement(claim.order.replica, claim.window, dispute.validator)
        if item is None:
            return replace(base, unsettled="it was repeated once more, and all agreed")
        shown = self._shown(dispute, item, self._words(claim, accounts, item))
        if not shown:
            return replace(base, unsettled="nobody shows the step on which the accounts part")
        first = next(iter(shown.values()))
        truth = self.referee.take(claim.order, dispute.weights[item.stage], item, first)
        right = {
            account.words[item]: self._is_right(
                truth,
                item,
                account.words[item],
                dispute.parties[int(account.party)].kind,
                shown[int(account.party)].made if int(account.party) in shown else None,
            )
            for account in accounts
            if item in account.words
        }
        return self._judged(dispute, item, liars(accounts, item, right), truth, first, alone)

    def _judged(
        self,
        dispute: Dispute,
        item: Item,
        guilty: Sequence[str],
        truth: Truth,
        shown: StepShown,
        alone: bool,
    ) -> Settlement:
        """What follows for the parties that recomputation has found guilty of an item."""
        claim, place = dispute.claim, self._said(dispute.claim, item)
        base = Settlement(claim.order.replica, claim.window, dispute.validator, place=place)
        if not guilty:
            return replace(base, unsettled=f"audit: recomputation of {place} confirms nobody")
        if not self._is_sure(dispute, item, guilty, truth, shown, alone):
            text = f"audit: {place}: not all that was recomputed, and repeated, agrees"
            return replace(base, unsettled=text)
        proofs = tuple(
            Proof(
                (dispute.parties[int(party)].names[item.stage],),
                f"audit: {place} is not what recomputation finds",
            )
            for party in guilty
        )
        exhibit = {f"truth{i}": tensor for i, tensor in enumerate(truth.made)}
        return replace(base, proofs=proofs, exhibit=exhibit)

    def _is_sure(
        self,
        dispute: Dispute,
        item: Item,
        guilty: Sequence[str],
        truth: Truth,
        shown: StepShown,
        alone: bool,
    ) -> bool:
        """Whether the coordinator finds the same again and again, and so does somebody whom it
        confirms; where nobody else can repeat the owner's work, whether it has ever found right
        what the owner's kind of machine does."""
        confirmed = [p for i, p in dispute.parties.items() if f"{i}" not in guilty]
        # What nobody could see of the steps before, the disputed one must show.
        times = AGAIN * (1 + STEPS_BEFORE - (min(STEPS_BEFORE, item.step) if confirmed else 0))
        known = alone and (dispute.owner.kind, item.stage) in self._confirmed
        if not (confirmed or known) or dispute.owner.kind in self.unrepeatable:
            return False
        return self._insists(dispute, item, shown, truth, times) and all(
            self._held_before(dispute, item, party) and self._stays(dispute, party)
            for party in confirmed
        )

    def _held_before(self, dispute: Dispute, item: Item, party: Replica) -> bool:
        """Whether the coordinator finds, again and again, what a party shows of the last steps
        before an item, on which all agree: where code changes, a step may happen to hide it."""
        claim, accounts, weights = dispute.claim, dispute.accounts, dispute.weights[item.stage]
        for step in range(max(0, item.step - STEPS_BEFORE), item.step):
            earlier = Item(step, item.stage)
            try:
                shown = self._show(dispute, party, earlier, self._words(claim, accounts, earlier))
                truth = self.referee.take(claim.order, weights, earlier, shown)
            except (NotShown, ReplicaLost):
                return False
            right = self._is_right(
                truth, earlier, agreed(accounts, earlier), party.kind, shown.made
            )
            if not self._insists(dispute, earlier, shown, truth, AGAIN) or not right:
                return False
        return True

    def _insists(
        self, dispute: Dispute, item: Item, shown: StepShown, truth: Truth, times: int
    ) -> bool:
        """Whether the coordinator finds the same again and again. If it does not, that is known of
        the job for good, and nobody can have made it so."""
        weights = dispute.weights[item.stage]
        if self.referee.insists(dispute.claim.order, weights, item, shown, truth, times):
            return True
        self.unrepeatable |= {dispute.owner.kind, self.referee.kind}
        return False

    def _stays(self, dispute: Dispute, party: Replica) -> bool:
        """Whether a party says the same of the window once more for each window of the round."""
        claim, windows = dispute.claim, len(dispute.claim.openings[0].states)
        try:
            more = [self._told_again(claim, dispute.owner, party) for _ in range(windows)]
        except (NotShown, ReplicaLost):
            return False
        accounts = [*dispute.by(party.index), *more]
        return first_difference(accounts, self._walk(claim)) is None

    def _said(self, claim: Claim, item: Item) -> str:
        what = {STATE: f"the state of stage {item.stage}", END: f"the update of stage {item.stage}"}
        text = what.get(item.channel) or str(self._job.channels[item.channel])
        return f"{text} after step {claim.order.first + item.step} of replica {claim.order.replica}"

    def _words(self, claim: Claim, accounts: Sequence[Transcript], item: Item) -> CommonGround:
        """What all agree on before an item."""
        before = (
            agreed(accounts, Item(item.step - 1, item.stage))
            if item.step
            else claim.start(item.stage)
        )
        received = {
            number: agreed(accounts, Item(item.step, channel.sender, number))
            for number, channel in enumerate(self._job.channels)
            if channel.receiver == item.stage and (item.channel < 0 or number < item.channel)
        }
        return CommonGround(before, received)

    def _shown(self, dispute: Dispute, item: Item, words: CommonGround) -> dict[int, StepShown]:
        """What each party shows of the step of an item; none of those who cannot."""
        shown = {}
        for index, party in dispute.parties.items():
            try:
                shown[index] = self._show(dispute, party, item, words)
            except (NotShown, ReplicaLost):
                continue
        return shown

    def _show(self, dispute: Dispute, party: Replica, item: Item, words: CommonGround) -> StepShown:
        claim, owner = dispute.claim, dispute.owner
        repeat(replace(claim.order, own=party is owner, show=item.step), claim, owner, party)
        fresh = claim.order.first + item.step == 0
        if item.channel != END or party is owner:
            return shown_by(party, item, fresh, words)
        # it has no update, but a state
        shown = shown_by(party, Item(item.step, item.stage), fresh, words)
        start = dispute.weights[item.stage]
        if len(shown.made[0]) < len(start):
            raise NotShown(item.stage)
        return replace(shown, made=[change(start, shown.made[0][: len(start)])])

    def _is_right(
        self, truth: Truth, item: Item, word: str, kind: str, made: list[torch.Tensor] | None
    ) -> bool:
        """Whether a word on an item is true, as far as this machine can tell for one of that
        kind."""
        if word == truth.word(item):
            return True
        limit = self.tolerance.limit(kind, self.referee.kind)
        if not limit or made is None:
            return False
        if word != Truth(made, truth.origin).word(item):
            return False
        error = self.referee.error(truth, item, made)
        if error <= limit:
            self.tolerance.learn(kind, self.referee.kind, error)
        return error <= ERRORS * limit
