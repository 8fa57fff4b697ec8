"""The accounts of a job: double entry in integers, a pure function of the ledger's entries."""

import copy
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tdml.rewards.entries import (
    DEPOSIT,
    MINT,
    TREASURY,
    Ban,
    End,
    Participants,
    Posting,
    Resume,
    Rewards,
    Terms,
    Verdict,
    read,
)
from tdml.rewards.payment import Payment, check_postings, posting_text
from tdml.rewards.policies import policy_of

Entry = tuple[int, str, dict]  # round, kind and body of an entry of the ledger


@dataclass
class _State:
    balances: dict[str, int] = field(default_factory=dict)  # by account
    sums: Counter[str] = field(default_factory=Counter)  # of the balances, by kind of account
    keys: dict[str, str] = field(default_factory=dict)  # name → key
    members: set[str] = field(default_factory=set)  # all keys that ever were in the roster
    newcomers: list[str] = field(default_factory=list)  # those of them whose stake is due
    convicted: set[str] = field(default_factory=set)  # keys, all of whose stake is gone
    # by key, what was held back of the pay of the last round in which it has handed in something
    latest: dict[str, int] = field(default_factory=dict)
    slashed: int = 0  # of all stakes
    # Of the round that is not settled yet:
    round: int = 0
    verdicts: dict[int, Verdict] = field(default_factory=dict)  # by replica
    # keys that it blames or bans, in their order
    accused: dict[str, None] = field(default_factory=dict)
    end: End | None = None  # the job is over


class Accounts:
    """All accounts, brought up to date entry by entry.

    A convicted key loses its stake, what was held back and its share of the round. The credit of
    earlier rounds stays: nobody can tell which of them were honest, and the stake is so large that
    every single lie was a bad bet when it was made, however the earlier ones had ended.

    What is held back becomes credit with the next verdict that clears its key, if no other of that
    round doubts it; or, where there are audits, with the job's end: statistics alone take nobody's
    pay. A node that does not show work that it was asked for gets nothing of it until it has. A
    node that cannot show it any more, and is forgiven, loses what was held back of that round. An
    update that cannot be averaged, and was not verified, is not paid at all: else one honest round
    would pay for any number of idle ones. A policy that pays for verified work alone holds nothing
    back.

    Args:
        job: body of the job's entry, its stake settled.
        roster: body of the roster's entry.

    Raises:
        ValueError: one of them has another form, or there is no such policy.
    """

    def __init__(self, job: dict, roster: dict) -> None:
        terms = read(job, Terms)
        if terms.stake is None:
            raise ValueError("the job has no stake")
        self.terms, self._stake, self._policy = terms, terms.stake, policy_of(terms)
        self._state = _State()
        self._admit(read(roster, Participants))

    @property
    def balances(self) -> dict[str, int]:
        """All balances, by account. Only those of `mint` and `deposit`, from where all money comes,
        are below 0."""
        return dict(self._state.balances)

    @property
    def convicted(self) -> frozenset[str]:
        """The keys that were blamed or banned so far, in rounds that are void, too."""
        return frozenset(self._state.convicted | self._state.accused.keys())

    def apply(self, kind: str, round: int, body: dict) -> None:
        """Take the next entry of the ledger. What has nothing to do with money is passed over, and
        so is `resume`: the caller restores the snapshot of the round that it names.

        Raises:
            ValueError: the entry has another form than its kind, or is not what the rules give from
                those before it.
        """
        match kind:
            case "roster":
                self._admit(read(body, Participants))
            case "verdict":
                self._judge(round, read(body, Verdict))
            case "ban":
                self._accuse(round, [read(body, Ban).key])
            case "end":
                self._begin(round)
                self._state.end = read(body, End)
            case "rewards":
                self._settle(round, read(body, Rewards))
            case "root":
                self._end(round)

    def settle(self, round: int) -> list[dict]:
        """The postings that are due for what was applied since the last settlement: the body of the
        `rewards` entry is {"postings": …}. Nothing changes before that is applied.

        Raises:
            ValueError: it is another round that is to be settled.
        """
        self._begin(round)
        state = self._state
        verdicts = [v for v in state.verdicts.values() if v.handed_in]
        convicted = state.convicted | state.accused.keys()
        due = Payment(state.balances, state.keys, convicted)
        due.take_stakes(state.newcomers, self._stake)
        forgiven = {state.keys[name] for v in state.verdicts.values() for name in v.forgiven}
        due.forfeit({key: state.latest.get(key, 0) for key in sorted(forgiven)})
        due.pay(verdicts, self._policy.parts(verdicts), self._policy.verified)
        due.release(verdicts)
        due.slash(state.accused)
        if state.end and self.terms.audit_chance:
            due.release_all(sorted(state.members - {*state.end.owing}))
        return due.postings

    def totals(self) -> dict[str, int]:
        """Sums over all keys: pool_in, slashed, credit, held, treasury, deposits, stake."""
        sums = self._state.sums
        kept = {kind: sums[kind] for kind in ("credit", "held", TREASURY, "stake")}
        return {
            "pool_in": -sums[MINT],
            "deposits": -sums[DEPOSIT],
            "slashed": self._state.slashed,
            **kept,
        }

    def check(self) -> None:
        """Raises:
        ValueError: money was made or lost, or there is less than nothing in an account.
        """
        balances, sums = self._state.balances, self.totals()
        for account, balance in balances.items():
            if balance < 0 and account not in (MINT, DEPOSIT):
                raise ValueError(f"{account} has fallen to {balance}")
        if sum(balances.values()):
            raise ValueError(f"all accounts together hold {sum(balances.values())}, not 0")
        if sums["pool_in"] + sums["slashed"] != sums["credit"] + sums["held"] + sums[TREASURY]:
            raise ValueError(
                f"pool in and slashed stakes are not credits, held back and treasury: {sums}"
            )
        if sums["deposits"] != sums["stake"] + sums["slashed"]:
            raise ValueError(f"stakes put down are not stakes kept and slashed: {sums}")

    def snapshot(self) -> Any:
        """Everything, to be restored when a `resume` makes later rounds void."""
        return copy.deepcopy(self._state)

    def restore(self, snapshot: Any) -> None:
        """Undo everything since the snapshot, which can be restored again."""
        self._state = copy.deepcopy(snapshot)

    def _admit(self, roster: Participants) -> None:
        self._state.keys |= roster.admitted
        self._enter(self._state.keys.values())

    def _enter(self, keys: Iterable[str]) -> None:
        """Keys that were never there before owe their stakes."""
        new = {*keys} - self._state.members
        self._state.members |= new
        self._state.newcomers += sorted(new)

    def _begin(self, round: int) -> None:
        state = self._state
        if state.round != round and state.verdicts:  # a ban may be of a round that is void
            raise ValueError(f"round {state.round} is not settled yet")
        state.round = round

    def _judge(self, round: int, verdict: Verdict) -> None:
        self._begin(round)
        if verdict.replica in self._state.verdicts:
            raise ValueError(f"there are two verdicts on replica {verdict.replica}")
        if len(verdict.nodes) != (stages := len(self.terms.shares)):
            raise ValueError(f"the verdict names {len(verdict.nodes)} nodes of {stages} stages")
        for name in (*verdict.nodes, *verdict.blamed, *verdict.forgiven):
            if name not in self._state.keys:
                raise ValueError(f"the verdict names {name}, which is not in the roster")
        self._state.verdicts[verdict.replica] = verdict
        self._accuse(round, [self._state.keys[name] for name in verdict.blamed])

    def _accuse(self, round: int, keys: Sequence[str]) -> None:
        self._begin(round)
        self._enter(keys)  # a key that came in a round which is void owes its stake all the same
        self._state.accused |= dict.fromkeys(keys)

    def _settle(self, round: int, rewards: Rewards) -> None:
        due = read(self.settle(round), list[Posting])
        check_postings(rewards.postings, due)
        state = self._state
        for posting in due:
            self._move(posting.source, -posting.amount)
            self._move(posting.target, posting.amount)
            state.slashed += posting.amount if posting.source.startswith("stake:") else 0
        self._note_held(due)
        self._forget()
        self.check()

    def _move(self, account: str, amount: int) -> None:
        self._state.balances[account] = self._state.balances.get(account, 0) + amount
        self._state.sums[account.partition(":")[0]] += amount

    def _end(self, round: int) -> None:
        if due := self.settle(round):
            raise ValueError(
                f"the round ends, but {posting_text(read(due[0], Posting))} is still due"
            )
        self._note_held(())
        self._forget()

    def _note_held(self, due: Iterable[Posting]) -> None:
        """Note what the round holds back of those that have handed in something. A node that owes a
        round hands in nothing until it has shown it: so that is its last one."""
        state = self._state
        worked = [v for v in state.verdicts.values() if v.handed_in]
        state.latest |= {state.keys[name]: 0 for v in worked for name in v.nodes}
        for posting in due:
            if posting.source == MINT and posting.target.startswith("held:"):
                state.latest[posting.target.partition(":")[2]] += posting.amount

    def _forget(self) -> None:
        """Forget what was of the round: it is settled, or nothing was due."""
        state = self._state
        state.convicted |= state.accused.keys()
        state.newcomers, state.verdicts, state.accused, state.end = [], {}, {}, None


def valid_entries(entries: Iterable[Entry]) -> list[Entry]:
    """The entries that count: without those that a later `resume` has made void, but with their
    bans after it, for a proof stays a proof, whatever becomes of its round.

    Raises:
        ValueError: a `resume` does not say after which round.
    """
    kept: list[Entry] = []
    for entry in entries:
        number, kind, body = entry
        before = kept
        if kind == "resume":
            kept = until(before, read(body, Resume).after)
        void = before[len(kept) :]
        kept.append(entry)
        kept += [(number, "ban", ban) for _, each, ban in void if each == "ban"]
    return kept


def until(entries: list[Entry], after: int) -> list[Entry]:
    """The entries up to where the run last stood at the end of the round `after`: at its root, or
    at a `rollback` to it, which undoes nobody's pay or ban."""
    ends = [
        place
        for place, (number, kind, body) in enumerate(entries)
        if (kind == "root" and number == after) or (kind == "rollback" and body["after"] == after)
    ]
    return entries[: ends[-1] + 1] if ends else []


def book_of(entries: Iterable[Entry]) -> Accounts:
    """The accounts at the end of a ledger.

    Raises:
        ValueError: it lacks the job or the roster, or an entry is not what the rules give.
    """
    kept = valid_entries(entries)
    book = Accounts(_first(kept, "job"), _first(kept, "roster"))
    for round, kind, body in kept:
        try:
            book.apply(kind, round, body)
        except ValueError as error:
            raise ValueError(f"round {round}: {error}") from error
    return book


def _first(entries: Iterable[Entry], wanted: str) -> dict:
    for _, kind, body in entries:
        if kind == wanted:
            return body
    raise ValueError(f"there is no entry of the kind {wanted}")
