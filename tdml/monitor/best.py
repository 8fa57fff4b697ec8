"""Which round was the best so far, by the validation accuracy; where the task has none, by the
validation loss."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


class Best:
    """The round with the best validation, of several equal ones the first; round 0 before there is
    one.

    `name` is what it is judged by, "accuracy" or "loss", and `value` what the best one has.
    """

    def __init__(self, lines: Sequence[dict[str, Any]]) -> None:
        """`lines` are those of metrics.jsonl so far, void ones among them."""
        self.round, self.name, self.value = 0, "accuracy", 0.0
        self._measured: dict[int, Mapping[str, float | None]] = {}
        last = 0
        for line in lines:
            if line["round"] <= last:
                self.take_back(line["round"] - 1)
            last = line["round"]
            self.add(last, {name: line.get(f"validation_{name}") for name in ("accuracy", "loss")})
        self.take_back(max((each["round"] for each in lines if not each.get("void")), default=0))

    def take_back(self, after: int) -> None:
        """The rounds after one are void. If the best is one of them, its predecessors' models are
        gone, so the round that the run goes on from takes its place."""
        self._measured = {n: validation for n, validation in self._measured.items() if n <= after}
        if self.round == 0 or self.round > after:
            self.round = 0
            self.add(after, self._measured.get(after, {}))

    def add(self, number: int, validation: Mapping[str, float | None]) -> None:
        """The next round, and what was measured on the validation half, by name; None where it is
        not known."""
        self._measured[number] = validation
        name = "accuracy" if validation.get("accuracy") is not None else "loss"
        value = validation.get(name)
        # a number that is none would be the best for ever: nothing is above it
        if value is not None and math.isfinite(value) and (self.round == 0 or self._better(value)):
            self.round, self.name, self.value = number, name, value

    def no_better(self, number: int, patience: int | None) -> str:
        """Why a run ends after a round, if the `patience` last ones were no better; "" if it goes
        on."""
        if patience is None or not self.round or number - self.round < patience:
            return ""
        return (
            f"no better validation {self.name} since round {self.round} (train.patience={patience})"
        )

    def _better(self, value: float) -> bool:
        return value < self.value if self.name == "loss" else value > self.value
