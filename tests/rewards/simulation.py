"""A thousand rounds of honest nodes and of every attack of the laboratory, paid by the real book.

`python -m tests.rewards.simulation` prints the table. The worst case for the defence: screen and
cross-check point at nobody, and only windows that chance chooses are audited. A cheat sits at the
stage that is paid best, beside an honest partner; or its owner has the whole replica, and lets the
node be found that is paid least. Profit is credit − stakes lost − cost of the work done, in rounds
of honest pay.
"""

from dataclasses import dataclass, replace

import numpy as np

from tdml import config as settings
from tdml.rewards.accounts import Accounts
from tdml.rewards.deterrence import stake_of
from tdml.trust.numbers import RANDOM_SHARE

_TRUST = settings.load([]).trust  # the default settings
WINDOWS, CHANCE = (
    _TRUST.audit_windows,
    RANDOM_SHARE * _TRUST.budget,
)  # CHANCE: that a window is audited
ROUNDS, COST = 1000, 0.9  # the cost of honest work, as a share of its pay
# _PAY of a round, at the second stage; _SAMPLES of one of its windows
_SHARES, _SAMPLES, _PAY = [400_000, 600_000], 33, 60_000
WHOLE = sum(_SHARES) / _SHARES[1]  # what a replica is paid, in rounds of that
KEPT = _SHARES[1] / sum(_SHARES)  # of a replica's pay, where the node at the first stage is found
LEAST_STAKE = (1 - CHANCE) / CHANCE + KEPT  # in rounds of a replica's pay
# of a round's cross-check, one of each replica: half of one of them is evaluated again
_REPORTS = 8


@dataclass(frozen=True)
class Strategy:
    """What a node does in the rounds in which it cheats."""

    name: str
    attacks: tuple[str, ...] = ()  # of conf/attack
    lied: int = WINDOWS  # windows of a round in which its work is not what was asked for
    worked: float = 1.0  # share of the round's work that it does
    rounds: float = 1.0  # share of the rounds in which it cheats
    returns: bool = True  # after a ban, under a new key with a new stake
    false_reports: bool = False  # it lies about others, not about its work
    # it does not answer when it is asked to show a lie; if it returns, it keeps its slot until it
    # has done that round again, well, which is not what it had committed to
    silent: bool = False
    # who is silent starts anew at once, in another slot and under another key
    elsewhere: bool = False
    whole: bool = False  # its owner has the whole replica, and its partner works no more than it

    @property
    def stake(self) -> float:
        """The least that deters, in rounds of its pay."""
        return LEAST_STAKE if self.whole else LEAST_STAKE * WHOLE

    @property
    def caught(self) -> float:
        """The chance that a round in which it cheats is met."""
        return 1 / (2 * _REPORTS) if self.false_reports else 1 - (1 - CHANCE) ** self.lied

    @property
    def starts_anew(self) -> bool:
        """Under another key, whenever it is met."""
        return self.returns and (self.elsewhere or not self.silent)

    def drawn(self, draws: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(ROUNDS,) each: bool, when it cheats; bool, when that is found; int, how many of the
        windows that are audited it has something to show of."""
        cheats = draws.random(ROUNDS) < self.rounds
        audited = draws.random((ROUNDS, WINDOWS)) < CHANCE
        lies = draws.permuted(np.tile(np.arange(WINDOWS) < self.lied, (ROUNDS, 1)), axis=1)
        lies &= cheats[:, None]
        met = (
            draws.random(ROUNDS) < self.caught
            if self.false_reports
            else (audited & lies).any(axis=1)
        )
        shown = audited & ~lies if self.silent else audited
        return cheats, cheats & met, shown.sum(axis=1)


HONEST = Strategy("honest work", lied=0, rounds=0.0)
_ALWAYS = [
    Strategy(
        "a false update after honest steps",
        (
            "adaptive", "bias_noise", "buffer_poison", "collusion", "garbage", "gaussian",
            "honest_noise", "ipm", "mean_shift", "min_max", "min_sum", "reversed_mean", "scaled",
            "sign_flip", "single_layer", "stage_backdoor",
            "zero_gradient",
        ),
        lied=1,
    ),
    Strategy("poisoned samples", ("backdoor", "label_flip")),
    Strategy("no work at all", ("copy_aggregate", "mimic", "replay", "zero_update"), worked=0.0),
    Strategy("half of the work", ("half_work",), lied=2, worked=0.5),
    Strategy("one window left out", lied=1, worked=1 - 1 / WINDOWS),
    Strategy("false reports", ("lying_validator",), lied=0, false_reports=True),
]  # fmt: skip
STRATEGIES = [
    replace(strategy, **variant)
    for strategy in _ALWAYS
    for variant in ({}, {"returns": False}, {"rounds": 0.1})
]
SILENT = [
    replace(s, silent=True, returns=False) for s in STRATEGIES if s.returns and not s.false_reports
]
SILENT_AND_STAYING = [replace(strategy, returns=True) for strategy in SILENT]
SILENT_AND_ELSEWHERE = [replace(strategy, elsewhere=True) for strategy in SILENT_AND_STAYING]
OWNERS = [replace(s, whole=True) for s in STRATEGIES if s.returns and not s.false_reports]


@dataclass
class Copy:
    """One cheat, in a replica of its own. It is called c{number}.{bans so far}."""

    strategy: Strategy
    number: int
    cheats: np.ndarray
    found: np.ndarray
    shown: np.ndarray
    bans: int = 0  # and other starts under another key
    met: bool = False  # at least once
    asked: bool = False  # to do the round again in which it was silent

    @property
    def partner(self) -> str:
        """The other node: honest, and at the first stage, unless one owner has both."""
        return f"p{self.number}"

    @property
    def spare(self) -> str:
        """The honest node that takes the place of a cheat who does not come back."""
        return f"spare{self.number}"

    @property
    def names(self) -> list[str]:
        """All keys that it uses up."""
        last = int(self.found.sum()) if self.strategy.starts_anew else 0
        return [f"c{self.number}.{ban}" for ban in range(last + 1)]

    @property
    def gone(self) -> bool:
        """Whether the spare has taken its place."""
        return self.met and (self.asked or not self.strategy.returns)

    @property
    def cost(self) -> float:
        """Of the work that it does until it is gone or out, in rounds of honest pay."""
        stays = self.strategy.starts_anew or not self.found.any()
        end = ROUNDS if stays else int(self.found.argmax()) + 1
        worked = np.where(self.cheats, self.strategy.worked, 1.0)[:end]
        return COST * float(worked.sum())


def simulate(
    strategies: list[Strategy], stake_share: float, copies: int, policy: str = "work"
) -> tuple[list[float], list[float]]:
    """Play all strategies side by side, each in so many replicas of its own.

    Args:
        stake_share: of the least stake that deters.

    Returns:
        by strategy: the mean profit of the cheats, and the mean pay of their honest partners.
    """
    draws = np.random.default_rng(0)
    chosen = [strategy for strategy in strategies for _ in range(copies)]
    played = [
        Copy(strategy, number, *strategy.drawn(draws)) for number, strategy in enumerate(chosen)
    ]
    job = _job(len(played), policy)
    job["stake"] = round(stake_of(job) * stake_share)
    names = [name for copy in played for name in (copy.partner, copy.spare, *copy.names)]
    book = Accounts(job, {"keys": {name: name for name in names}, "given": True, "refused": {}})
    for number in range(ROUNDS + 1):
        if number:
            _play(book, number, played)
        book.apply("rewards", number, {"postings": book.settle(number)})
    balances = book.balances
    profits = [_profit(balances, copy, job["stake"]) for copy in played]
    partners = [
        balances.get(f"credit:{copy.partner}", 0) / (_PAY * _SHARES[0] / _SHARES[1])
        for copy in played
    ]
    return _means(profits, copies), _means(partners, copies)


def expected(strategy: Strategy, stake_share: float) -> float:
    """The mean profit under the policy `work`, worked out: that of a round times the rounds that it
    is played (Wald's equation)."""
    found = strategy.caught
    stake = 0.0 if strategy.silent else stake_share * strategy.stake
    kept = KEPT if strategy.whole else 0.0
    cheating = (1 - found) + found * (kept - stake) - COST * strategy.worked
    ends = 0 if strategy.starts_anew else strategy.rounds * found
    played = (1 - (1 - ends) ** ROUNDS) / ends if ends else ROUNDS
    return played * (strategy.rounds * cheating + (1 - strategy.rounds) * (1 - COST))


def expected_verified(strategy: Strategy) -> float:
    """The same under the policy `verified`, of who starts anew whenever it is met: of the windows
    that are drawn it is paid for those that it can show; and its partner, if that is its own, for
    all of them, where it is convicted."""
    found, lied = strategy.caught, strategy.lied / WINDOWS
    if strategy.silent:
        cheating = 1 - lied
    else:
        kept = KEPT * (lied + found * (1 - lied)) if strategy.whole else 0.0
        cheating = (1 - found) * (1 - lied) + kept - found * strategy.stake
    cheating -= COST * strategy.worked
    return ROUNDS * (strategy.rounds * cheating + (1 - strategy.rounds) * (1 - COST))


def table(copies: int) -> str:
    """Profits of all strategies, at the least stake that deters and at a tenth of it; and where
    only verified work is paid."""
    strategies = [
        HONEST, *STRATEGIES, *SILENT, *SILENT_AND_STAYING, *SILENT_AND_ELSEWHERE, *OWNERS
    ]  # fmt: skip
    full, tenth, verified = (
        simulate(strategies, share, copies, policy)[0]
        for share, policy in ((1.0, "work"), (0.1, "work"), (1.0, "verified"))
    )
    lines = [
        f"{'strategy':<34}{'rounds':>7}{'when met':>19}{'expected':>10}{'simulated':>11}"
        f"{'at a tenth':>12}{'verified':>10}"
    ]
    for strategy, one, other, third in zip(strategies, full, tenth, verified, strict=True):
        after = "" if strategy is HONEST else "new key" if strategy.returns else "leaves"
        stays = "elsewhere" if strategy.elsewhere else "stays" if strategy.returns else "gone"
        after = f"silent, {stays}" if strategy.silent else after
        after = f"{after}, whole" if strategy.whole else after
        rounds = "" if strategy is HONEST else f"{strategy.rounds:.0%}"
        mean = expected(strategy, 1.0)
        lines.append(
            f"{strategy.name:<34}{rounds:>7}{after:>19}{mean:>10.0f}{one:>11.0f}{other:>12.0f}"
            f"{third:>10.0f}"
        )
    return "\n".join(lines)


def _job(replicas: int, policy: str) -> dict:
    pool = replicas * _PAY * sum(_SHARES) // _SHARES[1]
    return {
        "rounds": ROUNDS, "policy": policy, "pool": pool, "stake": None, "audit_chance": CHANCE,
        "shares": _SHARES, "samples": [_SAMPLES * WINDOWS] * replicas,
    }  # fmt: skip


def _play(book: Accounts, number: int, played: list[Copy]) -> None:
    """The verdicts and bans of a round."""
    for copy in played:
        cheat = copy.spare if copy.gone else f"c{copy.number}.{copy.bans}"
        stays = copy.strategy.silent and not copy.strategy.elsewhere
        again = copy.met and stays and not copy.gone
        copy.asked |= again
        found = bool(copy.found[number - 1]) and not copy.gone and not again
        silent = found and copy.strategy.silent
        convicted = found and not silent
        status = "malicious" if convicted else "suspicious" if silent else "honest"
        body = {
            "replica": copy.number,
            "nodes": [cheat, copy.partner] if copy.strategy.whole else [copy.partner, cheat],
            "status": "lost" if again else status,
            "blamed": [cheat] if convicted else [], "samples": _SAMPLES * WINDOWS,
            "repeated": _SAMPLES * int(copy.shown[number - 1]),
        }  # fmt: skip
        book.apply("verdict", number, body)
        copy.met |= found
        if convicted:
            book.apply("ban", number, {"node": cheat, "key": cheat, "reason": "audit"})
        copy.bans += convicted or (silent and copy.strategy.elsewhere)


def _profit(balances: dict[str, int], copy: Copy, stake: int) -> float:
    whole = copy.strategy.whole
    own = [*copy.names, copy.partner] if whole else copy.names
    credit = sum(balances.get(f"credit:{name}", 0) for name in own)
    lost = sum(stake - balances.get(f"stake:{name}", 0) for name in own)
    return (credit - lost) / (_PAY * WHOLE if whole else _PAY) - copy.cost


def _means(values: list[float], copies: int) -> list[float]:
    return np.asarray(values).reshape(-1, copies).mean(axis=1).tolist()


if __name__ == "__main__":
    print(table(copies=16))
