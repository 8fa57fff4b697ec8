"""A dispute over a window: it is narrowed to one item of one step of one stage, and that is
recomputed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from tdml.job import Job
from tdml.models.layout import change
from tdml.round.fleet import Replica, ReplicaLost
from tdml.round.gather import NotShown
from tdml.round.openings import is_log
from tdml.round.orders import Repetition
from tdml.round.recompute import Referee, StepShown, Truth, Words, shown_by
from tdml.round.repeat import Case, repeat
from tdml.trust.dispute import END, STATE, Account, Item, agreed, first_difference, items, liars
from tdml.trust.judgement import Proof
from tdml.trust.tolerance import Tolerance

# times the limit: between the two, machines of different kinds may be honest, and nobody is
# convicted
_WIDE = 8.0


@dataclass(frozen=True)
class Settlement:
    """What came of a dispute: who is proven to lie, or why nobody is; and where the accounts
    parted."""

    replica: int
    window: int
    validator: int | None
    proofs: tuple[Proof, ...] = ()
    unsettled: str = ""
    place: str = ""
    exhibit: Mapping[str, torch.Tensor] = field(default_factory=dict)  # what a conviction rests on

    @property
    def blamed(self) -> tuple[str, ...]:
        """The nodes that are proven to lie."""
        return tuple(name for proof in self.proofs for name in proof.nodes)


class Settler:
    """Settles the disputes of a job. `tolerance` is what the steps of different machines have
    taught it."""

    def __init__(self, job: Job) -> None:
        self._job, self.tolerance, self.referee = job, Tolerance(), Referee(job)
        self._senders = [channel.sender for channel in job.channels]

    def settle(
        self, case: Case, owner: Replica, validator: Replica, answers: Sequence[Repetition],
        weights: Sequence[torch.Tensor],
    ) -> Settlement:  # fmt: skip
        """Between who was audited and who has found something else.

        Raises:
            ReplicaLost: one of them does not answer.
            NotShown: the owner shows something else than it had bound itself to.
        """
        accounts = [self._committed(case, owner), self._told(case, validator, answers)]
        accounts += [self._told_again(case, owner, party) for party in (owner, validator)]
        return self._decide(
            case, accounts, {owner.index: owner, validator.index: validator}, owner, weights
        )

    def look(
        self, case: Case, owner: Replica, weights: Sequence[torch.Tensor], draw: torch.Generator
    ) -> Settlement | None:
        """The coordinator's own look at one step of one stage of a window, which nobody can
        foresee; None if nothing is wrong with it. Raises as `settle`."""
        accounts = [self._committed(case, owner), self._told_again(case, owner, owner)]
        if first_difference(accounts, self._walk(case)) is not None:
            return self._decide(case, accounts, {owner.index: owner}, owner, weights)
        steps, stages = len(case.order.batches), len(owner.names)
        place = int(torch.randint(steps * stages, (), generator=draw))
        item = Item(place // stages, place % stages)
        shown = self._show(case, owner, owner, item, self._words(case, accounts, item), weights)
        truth = self.referee.take(case.order, weights[item.stage], item, shown)
        right = self._is_right(truth, item, accounts[1].words[item], owner.kind, shown.made)
        if right:
            return None
        return self._settlement(
            case, owner, None, accounts, item, {accounts[1].words[item]: right}, truth
        )

    # The accounts

    def _committed(self, case: Case, owner: Replica) -> Account:
        words = self._messages(case.logs)
        steps, last = len(case.order.batches), END if case.order.last else STATE
        words |= {Item(steps - 1, stage, last): end for stage, end in enumerate(case.ends())}
        return Account(f"{owner.index}", words)

    def _told_again(self, case: Case, owner: Replica, party: Replica) -> Account:
        """By who repeats it once more, now with the state after every step."""
        steps = len(case.order.batches)
        answers = repeat(replace(case.order, own=party is owner, each=True), case, owner, party)
        for name, answer in zip(party.names, answers, strict=True):
            if not is_log(answer.log, steps, self._job.channels) or len(answer.states) != steps:
                raise ReplicaLost(
                    party.index, f"{name}: it has not said what every step led to", [name]
                )
        return self._told(case, party, answers)

    def _told(self, case: Case, party: Replica, answers: Sequence[Repetition]) -> Account:
        words = self._messages([answer.log for answer in answers])
        steps, last = len(case.order.batches), END if case.order.last else STATE
        for stage, answer in enumerate(answers):
            words |= {Item(step, stage): state for step, state in enumerate(answer.states)}
            words[Item(steps - 1, stage, last)] = answer.end
        return Account(f"{party.index}", words)

    def _messages(self, logs: Sequence[torch.Tensor]) -> dict[Item, str]:
        """What crossed every channel in every step, as its sender has logged it, which its receiver
        has signed."""
        words = {}
        for number, channel in enumerate(self._job.channels):
            for step, row in enumerate(logs[channel.sender][:, number].tolist()):
                words[Item(step, channel.sender, number)] = bytes(row).hex()
        return words

    def _walk(self, case: Case) -> Iterator[Item]:
        return items(
            len(case.order.batches),
            self._senders,
            self._job.config.topology.stages,
            case.order.last,
        )

    # The item

    def _decide(
        self, case: Case, accounts: Sequence[Account], parties: Mapping[int, Replica],
        owner: Replica,
        weights: Sequence[torch.Tensor],
    ) -> Settlement:  # fmt: skip
        item = first_difference(accounts, self._walk(case))
        validator = next((index for index in parties if index != owner.index), None)
        base = Settlement(case.order.replica, case.window, validator)
        if item is None:
            return replace(base, unsettled="it was repeated once more, and all agreed")
        words = self._words(case, accounts, item)
        shown = self._shown(case, owner, parties, item, words, weights)
        if not shown:
            return replace(base, unsettled="nobody shows the step on which the accounts part")
        first = next(iter(shown.values()))
        truth = self.referee.take(case.order, weights[item.stage], item, first)
        right = {
            account.words[item]: self._is_right(
                truth, item, account.words[item], parties[int(account.party)].kind,
                shown[int(account.party)].made if int(account.party) in shown else None,
            )
            for account in accounts if item in account.words
        }  # fmt: skip
        return self._settlement(case, owner, validator, accounts, item, right, truth, parties)

    def _settlement(
        self, case: Case, owner: Replica, validator: int | None, accounts: Sequence[Account],
        item: Item, right: Mapping[str, bool], truth: Truth,
        parties: Mapping[int, Replica] | None = None,
    ) -> Settlement:  # fmt: skip
        parties = parties or {owner.index: owner}
        place = self._said(case, item)
        guilty = (
            liars(accounts, item, right)
            if len(parties) > 1 or len(right) > 1
            else (f"{owner.index}",)
        )
        proofs = tuple(
            Proof(
                (parties[int(party)].names[item.stage],),
                f"audit: {place} is not what recomputation finds",
            )
            for party in guilty
        )
        unsettled = "" if proofs else f"audit: recomputation of {place} confirms nobody"
        exhibit = {f"truth{i}": tensor for i, tensor in enumerate(truth.made)} if proofs else {}
        return Settlement(
            case.order.replica, case.window, validator, proofs, unsettled, place, exhibit
        )

    def _said(self, case: Case, item: Item) -> str:
        what = {STATE: f"the state of stage {item.stage}", END: f"the update of stage {item.stage}"}
        text = what.get(item.channel) or str(self._job.channels[item.channel])
        return f"{text} after step {case.order.first + item.step} of replica {case.order.replica}"

    def _words(self, case: Case, accounts: Sequence[Account], item: Item) -> Words:
        """What all agree on before an item."""
        before = (
            agreed(accounts, Item(item.step - 1, item.stage))
            if item.step
            else case.start(item.stage)
        )
        received = {
            number: agreed(accounts, Item(item.step, channel.sender, number))
            for number, channel in enumerate(self._job.channels)
            if channel.receiver == item.stage and (item.channel < 0 or number < item.channel)
        }
        return Words(before, received)

    def _shown(
        self, case: Case, owner: Replica, parties: Mapping[int, Replica], item: Item, words: Words,
        weights: Sequence[torch.Tensor],
    ) -> dict[int, StepShown]:  # fmt: skip
        """What each party shows of the step of an item; none of those who cannot."""
        shown = {}
        for index, party in parties.items():
            try:
                shown[index] = self._show(case, owner, party, item, words, weights)
            except (NotShown, ReplicaLost):
                continue
        return shown

    def _show(
        self,
        case: Case,
        owner: Replica,
        party: Replica,
        item: Item,
        words: Words,
        weights: Sequence[torch.Tensor],
    ) -> StepShown:
        repeat(replace(case.order, own=party is owner, show=item.step), case, owner, party)
        fresh = case.order.first + item.step == 0
        if item.channel != END or party is owner:
            return shown_by(party, item, fresh, words)
        shown = shown_by(
            party, Item(item.step, item.stage), fresh, words
        )  # it has no update, but a state
        start = weights[item.stage]
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
        return error <= _WIDE * limit
