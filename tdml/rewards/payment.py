"""The rules by which a round's money moves, one after the other."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import zip_longest

import msgspec

from tdml.rewards.entries import (
    DEPOSIT,
    MINT,
    TREASURY,
    Posting,
    Verdict,
    credit_account,
    held_account,
    stake_account,
)


class Payment:
    """Collects the postings that are due.

    Args:
        balances: of all accounts before; they are not changed.
        keys: name → key.
        convicted: keys of all that were blamed or banned so far, in this round too.
    """

    def __init__(
        self, balances: Mapping[str, int], keys: Mapping[str, str], convicted: Collection[str]
    ) -> None:
        self._balances, self._keys, self._convicted = balances, keys, convicted
        self._changes: dict[str, int] = {}
        self._postings: list[Posting] = []

    @property
    def postings(self) -> list[dict]:
        """As the `rewards` entry has them."""
        return msgspec.to_builtins(self._postings)

    def take_stakes(self, keys: Iterable[str], stake: int) -> None:
        """Every new key puts down its stake."""
        for key in keys:
            self._post(DEPOSIT, stake_account(key), stake, "stake")

    def forfeit(self, amounts: Mapping[str, int]) -> None:
        """Take what was held back of keys for work that they cannot show any more."""
        for key, amount in amounts.items():
            account = held_account(key)
            self._post(account, TREASURY, min(amount, self._balance(account)), "never shown")

    def pay(
        self, verdicts: Sequence[Verdict], shares: Sequence[Sequence[int]], verified: bool
    ) -> None:
        """Pay the nodes their `shares`, by verdict and stage. Where only `verified` work is paid,
        nothing is held back. What nobody earns is not minted, so that nobody gains by it."""
        for verdict, row in zip(verdicts, shares, strict=True):
            for name, share in zip(verdict.nodes, row, strict=True):
                self._pay_node(verdict, name, share, verified)

    def release(self, verdicts: Sequence[Verdict]) -> None:
        """Credit what was held back to every key that has had only verdicts that clear it in this
        round."""
        doubted = {self._keys[name] for v in verdicts if not v.clears for name in v.nodes}
        for verdict in verdicts:
            for key in (self._keys[name] for name in verdict.nodes):
                if key not in doubted and key not in self._convicted:
                    self._post(
                        held_account(key),
                        credit_account(key),
                        self._balance(held_account(key)),
                        "cleared",
                    )

    def release_all(self, keys: Iterable[str]) -> None:
        """Credit what was held back to all of these keys that are not convicted: the job is over,
        and no verdict can clear them any more."""
        for key in keys:
            if key not in self._convicted:
                held = self._balance(held_account(key))
                self._post(held_account(key), credit_account(key), held, "the job is over")

    def slash(self, keys: Iterable[str]) -> None:
        """Take from the newly convicted what is left of their stakes, and what was held back of
        their pay."""
        for key in keys:
            for account in (stake_account(key), held_account(key)):
                self._post(account, TREASURY, self._balance(account), "convicted")

    def _pay_node(self, verdict: Verdict, name: str, share: int, verified: bool) -> None:
        key = self._keys[name]
        if key in self._convicted:
            return
        if verdict.clears or (verified and not (verdict.blamed or verdict.unfound)):
            self._post(MINT, credit_account(key), share, f"work of {name}")
        elif verdict.blamed:
            due = self._pay_from_stakes(verdict, name, share)
            self._post(
                MINT, credit_account(key), due, f"work of {name}, beyond its partner's stake"
            )
        elif not verdict.unfound:
            # Suspicious; or refused with nobody to blame, which neither clears nor convicts.
            self._post(MINT, held_account(key), share, f"work of {name}, held back")

    def _pay_from_stakes(self, verdict: Verdict, name: str, share: int) -> int:
        """Pay a node from the stakes of those who cheated in its replica, in their order. Returns
        what is still due."""
        due = share
        for cheat in verdict.blamed:
            account = stake_account(self._keys[cheat])
            part = min(due, self._balance(account))
            self._post(
                account,
                credit_account(self._keys[name]),
                part,
                f"work of {name}, paid by {cheat}'s stake",
            )
            due -= part
        return due

    def _balance(self, account: str) -> int:
        return self._balances.get(account, 0) + self._changes.get(account, 0)

    def _post(self, source: str, target: str, amount: int, why: str) -> None:
        if amount:
            self._postings.append(Posting(source, target, amount, why))
            self._changes[source] = self._changes.get(source, 0) - amount
            self._changes[target] = self._changes.get(target, 0) + amount


def check_postings(posted: Sequence[Posting], due: Sequence[Posting]) -> None:
    """Raises:
    ValueError: they are not the same, in the same order.
    """
    for index, (one, other) in enumerate(zip_longest(posted, due)):
        if one != other:
            raise ValueError(
                f"posting {index} is {posting_text(one)}; the rules give {posting_text(other)}"
            )


def posting_text(posting: Posting | None) -> str:
    """A posting in words."""
    if posting is None:
        return "nothing"
    return f"{posting.amount} from {posting.source} to {posting.target} ({posting.why})"
