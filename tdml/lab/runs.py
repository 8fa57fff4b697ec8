"""One case of `tdml bench detection`, from the first round to the last."""

import time
from dataclasses import asdict

from tdml import config as settings
from tdml.attacks.base import acts
from tdml.common.checkout import commit
from tdml.errors import SettingError, one_line
from tdml.lab.grids import CLEAN, Case
from tdml.lab.laboratory import Laboratory
from tdml.lab.models import LANGUAGE
from tdml.lab.yardsticks import NAMES
from tdml.round.result import Round
from tdml.trust.numbers import ALPHA, LIMIT

_EVERY = 5  # rounds between two measurements of the accuracy that are kept


def run_case(case: Case) -> dict:
    """What happened, as it is kept in cases.jsonl. A case that its settings forbid is `skipped`,
    with the reason; one that fails has its `error`."""
    start = time.perf_counter()
    head = {"key": case.key, "case": asdict(case), "commit": commit()}
    try:
        rule = case.defence if case.defence in NAMES else ""
        laboratory = Laboratory(case.overrides(), rule, case.attackers)
        result = _Run(case, laboratory).play()
    except SettingError as error:
        return head | {"skipped": one_line(error)}
    except Exception as error:
        return head | {"error": f"{type(error).__name__}: {one_line(error)}"}
    return head | result | {"seconds": round(time.perf_counter() - start, 3)}


class _Run:
    """The bookkeeping of a case."""

    def __init__(self, case: Case, laboratory: Laboratory) -> None:
        self._case, self._laboratory = case, laboratory
        self._attacking = set(case.attacking) if case.attack != CLEAN else set()
        self._rounds: list[Round] = []

    def play(self) -> dict:
        """All rounds."""
        self._rounds = self._laboratory.run(self._case.rounds)
        accuracy = {
            r.number: _accuracy(r)
            for r in self._rounds
            if r.number % _EVERY == 0 or r is self._rounds[-1]
        }
        steps = sum(r.steps[i] for r in self._rounds for i in r.judgements)
        result = {
            "attackers": [self._attacker(replica) for replica in sorted(self._attacking)],
            "honest": [
                self._honest(r) for r in range(self._case.replicas) if r not in self._attacking
            ],
            "accuracy": accuracy, "final_accuracy": _accuracy(self._rounds[-1]),
            "void_rounds": len(self._rounds) - self._case.rounds,
            "spent": sum(r.spent for r in self._rounds) / max(steps, 1),
        }  # fmt: skip
        # a clean model takes some stamped images for the target, too
        clean = self._case.attack == CLEAN and self._case.setting not in LANGUAGE
        stamps = settings.load(["attack=backdoor", "attack.replicas=[0]"]).attack if clean else None
        success = self._laboratory.backdoor_success(stamps)
        return result if success is None else result | {"backdoor_success": success}

    def _attacker(self, replica: int) -> dict:
        config = self._laboratory.job.config
        active = [r.number for r in self._rounds if acts(config.attack, config.seed, r.number)]
        nodes = self._banned(replica)
        mine = [
            r.judgements[replica]
            for r in self._rounds
            if replica in r.judgements and r.number in active
        ]
        result = {
            "replica": replica, "first_act": active[0] if active else None,
            "convicted": min(nodes.values()) if nodes else None,
            "counted": sum(judgement.weight * judgement.scale for judgement in mine),
            "rounds": len(mine),
            "reason": next((judgement.reason for judgement in mine if judgement.blamed), ""),
        }  # fmt: skip
        if self._case.single_node and nodes:
            result["named_right"] = set(nodes) == {f"r{replica}.s{self._case.attacking_stage}"}
        return result

    def _honest(self, replica: int) -> dict:
        mine = [r.judgements[replica] for r in self._rounds if replica in r.judgements]
        return {
            "replica": replica, "banned": self._banned(replica), "rounds": len(mine),
            "lost_weight": sum(1 - judgement.weight * judgement.scale for judgement in mine),
            "suspicious": sum(judgement.status == "suspicious" for judgement in mine),
            "beyond": sum(judgement.distance > LIMIT for judgement in mine),
            "tested": sum(judgement.p is not None for judgement in mine),
            "seen": sum(judgement.p is not None and judgement.p <= ALPHA for judgement in mine),
        }  # fmt: skip

    def _banned(self, replica: int) -> dict[str, int]:
        """The replica's nodes that were banned, and when."""
        return {
            name: r.number
            for r in self._rounds
            for name in r.bans
            if name.startswith(f"r{replica}.")
        }


def _accuracy(played: Round) -> float | None:
    """Of samples, or of a language model's tokens."""
    return played.test["accuracy" if "accuracy" in played.test else "token_accuracy"]
