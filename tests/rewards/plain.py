"""The rules of money once more, as plainly as can be: purses instead of postings, fractions instead
of integers."""

from collections import defaultdict
from fractions import Fraction


class PlainBook:
    """Three purses per key and the treasury."""

    def __init__(self, job, roster):
        self.job, self.keys = job, roster["keys"]
        self.stake = dict.fromkeys(self.keys.values(), job["stake"])
        self.held, self.credit = defaultdict(int), defaultdict(int)
        self.treasury, self.convicted = 0, set()
        self.latest = {}  # what was held back of the last round in which a key handed in something

    def play(self, verdicts, bans):
        """One round."""
        verdicts = sorted(verdicts, key=lambda v: v["replica"])
        cheats = [self.keys[n] for v in verdicts for n in v["blamed"]] + [b["key"] for b in bans]
        self.convicted |= set(cheats)
        for key in {self.keys[n] for v in verdicts for n in v["forgiven"]}:
            gone = min(self.held[key], self.latest.get(key, 0))
            self.held[key] -= gone
            self.treasury += gone
        verdicts = [v for v in verdicts if v["status"] != "lost"]
        before = dict(self.held)
        self._pay(verdicts)
        for key in {self.keys[n] for v in verdicts for n in v["nodes"]}:
            self.latest[key] = self.held[key] - before.get(key, 0)
        doubted = {self.keys[n] for v in verdicts for n in v["nodes"] if not _clears(v)}
        for key in {self.keys[n] for v in verdicts for n in v["nodes"]} - doubted - self.convicted:
            self.credit[key] += self.held.pop(key, 0)
        for key in self.convicted:
            self.treasury += self.stake.get(key, 0) + self.held.pop(key, 0)
            self.stake[key] = 0

    def end(self, owing):
        """The job is over."""
        for key in list(self.held) if self.job["audit_chance"] else ():
            if key not in owing and key not in self.convicted:
                self.credit[key] += self.held.pop(key)

    def _pay(self, verdicts):
        weights = self._weights(verdicts)
        total = max(self._full(), sum(weights.values()))
        for v in verdicts:
            for stage, name in enumerate(v["nodes"]):
                part = Fraction(weights[v["replica"], stage], total or 1)
                share, key = int(part * self.job["pool"]), self.keys[name]
                verified = self.job["policy"] == "verified"
                if verified:  # each window that chance chose stands for 1 / chance of them
                    windows = Fraction(v["repeated"], max(1, v["samples"]))
                    share = int(share * windows / Fraction(self.job["audit_chance"]))
                if key in self.convicted:
                    continue
                if _clears(v) or (verified and not (v["blamed"] or v["unfound"])):
                    self.credit[key] += share
                elif v["blamed"]:
                    self.credit[key] += share
                    for cheat in v["blamed"]:
                        from_stake = min(share, self.stake[self.keys[cheat]])
                        self.stake[self.keys[cheat]] -= from_stake
                        share -= from_stake
                elif v["unfound"]:
                    continue
                else:
                    self.held[key] += share

    def _full(self):
        """All weights of a round in which nobody fails, where they are known beforehand."""
        worths = {"work": self.job["samples"], "equal": [1 for _ in self.job["samples"]]}
        counts = {"work": self.job["shares"], "equal": [1 for _ in self.job["shares"]]}
        policy = self.job["policy"].replace("verified", "work")
        return sum(w * c for w in worths.get(policy, []) for c in counts[policy])

    def _weights(self, verdicts):
        sound = [max(0, v["improvement"]) for v in verdicts if not v["blamed"]]
        weights = {}
        for v in verdicts:
            improvement = max(0, v["improvement"])
            if v["blamed"]:
                improvement = sum(sound) // len(sound) if sound else 0
            samples = v["samples"]
            worths = {"work": samples, "verified": samples, "improvement": improvement}
            worth = worths.get(self.job["policy"])
            for stage, share in enumerate(self.job["shares"]):
                weights[v["replica"], stage] = 1 if worth is None else worth * share
        return weights


def _clears(v):
    return v["status"] == "honest" or (v["status"] == "suspicious" and v["proven"])
