"""One case of `tdml bench detection`, from the first round to the last."""

import time
from collections.abc import Sequence
from dataclasses import asdict

import torch

from tdml.bench.defences import Defence, Outcome, Round, make_defence
from tdml.bench.federation import Federation
from tdml.bench.grids import CLEAN, Case
from tdml.errors import SettingError, one_line
from tdml.trust.commitment import Inspection, has_diverged, training_diverges

_EVERY = 5  # rounds between two measurements of the accuracy


def run_case(case: Case) -> dict:
    """What happened, as it is kept in cases.jsonl. A case that its settings forbid is `skipped`, with the reason; one
    that fails has its `error`."""
    start = time.perf_counter()
    head = {"key": case.key, "case": asdict(case)}
    try:
        federation = Federation(case.overrides())
        defence = make_defence(case.defence, federation, case.attackers)
        result = _Run(case, federation, defence).play()
    except SettingError as error:
        return head | {"skipped": one_line(error)}
    except Exception as error:
        return head | {"error": f"{type(error).__name__}: {one_line(error)}"}
    return head | result | {"seconds": round(time.perf_counter() - start, 3)}


class _Run:
    """The bookkeeping of a case."""

    def __init__(self, case: Case, federation: Federation, defence: Defence) -> None:
        self._case, self._federation, self._defence = case, federation, defence
        everyone = range(case.replicas)
        self._attacking = set(case.attacking) if case.attack != CLEAN else set()
        self._accused: dict[int, list[int]] = {replica: [] for replica in everyone}  # replica → rounds
        self._suspicious: dict[int, list[int]] = {replica: [] for replica in everyone}
        self._banned: dict[int, int] = {}  # replica → round
        self._nodes: dict[int, list[int]] = {}  # replica → stages named when it was first accused
        self._reasons: dict[int, str] = {}
        self._accuracy: dict[int, float] = {}

    def play(self) -> dict:
        """All rounds."""
        for number in range(1, self._case.rounds + 1):
            self._round(number)
            if number % _EVERY == 0 or number == self._case.rounds:
                self._accuracy[number] = self._federation.accuracy()
        return self._result()

    def _round(self, number: int) -> None:
        federation = self._federation
        updates = federation.updates(number)
        inspections = federation.inspect(updates, number, self._defence.strict)
        faults = {replica: wrong for replica, found in inspections.items() if (wrong := _faults(found))}
        good = [replica for replica in federation.live if replica not in faults]
        diverged = [replica for replica, found in inspections.items() if has_diverged(found)]
        common = training_diverges(len(diverged), len(inspections))
        whole = _round_of(federation, number, [*good, *diverged], updates)
        for replica, wrong in faults.items():
            if replica in diverged and (common or not self._defence.refutes(whole, replica)):
                self._suspicious[replica].append(number)
            else:
                self._accuse(replica, number, tuple(wrong), "; ".join(wrong.values()), ban=True)
        if good:
            outcome = self._defence.judge(_round_of(federation, number, good, updates))
            federation.step(outcome.aggregate)
            self._note(outcome, number)
        federation.live = [replica for replica in federation.live if replica not in self._banned]

    def _note(self, outcome: Outcome, number: int) -> None:
        for replica in sorted(outcome.accused):
            self._accuse(
                replica, number, outcome.nodes.get(replica, ()), outcome.reasons.get(replica, ""),
                ban=replica in outcome.banned,
            )  # fmt: skip
        for replica in outcome.suspicious:
            self._suspicious[replica].append(number)

    def _accuse(self, replica: int, number: int, stages: tuple[int, ...], reason: str, ban: bool) -> None:
        self._accused[replica].append(number)
        self._nodes.setdefault(replica, list(stages))
        if reason:
            self._reasons.setdefault(replica, f"round {number}: {reason}")
        if ban:
            self._banned.setdefault(replica, number)

    def _result(self) -> dict:
        result = {
            "attackers": [self._attacker(replica) for replica in sorted(self._attacking)],
            "honest": [self._honest(r) for r in range(self._case.replicas) if r not in self._attacking],
            "accuses": self._defence.accuses,
            "accuracy": self._accuracy,
            "final_accuracy": self._accuracy[self._case.rounds],
        }
        success = self._federation.backdoor_success()
        return result if success is None else result | {"backdoor_success": success}

    def _attacker(self, replica: int) -> dict:
        struck = self._federation.first_deed.get(replica)
        accused = [number for number in self._accused[replica] if struck is not None and number >= struck]
        early = [number for number in self._accused[replica] if struck is None or number < struck]
        found = {
            "replica": replica, "first_act": struck, "convicted": accused[0] if accused else None,
            "accused_before": early, "accused_rounds": len(accused),
            "suspicious_rounds": len(self._suspicious[replica]), "reason": self._reasons.get(replica, ""),
        }  # fmt: skip
        if self._case.single_node and accused:
            found["named"] = self._nodes[replica]
            found["named_right"] = self._nodes[replica] == [self._case.attacking_stage]
        return found

    def _honest(self, replica: int) -> dict:
        end = self._banned.get(replica, self._case.rounds)
        return {
            "replica": replica, "accused": self._accused[replica], "rounds": end,
            "suspicious": self._suspicious[replica], "reason": self._reasons.get(replica, ""),
        }  # fmt: skip


def _round_of(
    federation: Federation, number: int, replicas: list[int], updates: dict[int, list[torch.Tensor]]
) -> Round:
    stages = zip(*(updates[replica] for replica in replicas), strict=True)
    return Round(federation, number, replicas, [torch.stack(parts) for parts in stages])


def _faults(inspections: Sequence[Inspection]) -> dict[int, str]:
    """What is wrong, by stage."""
    return {stage: inspection.fault for stage, inspection in enumerate(inspections) if inspection.fault}
