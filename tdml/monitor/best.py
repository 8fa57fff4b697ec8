"""Which round was the best so far, by the validation accuracy; where the task has none, by the
validation loss."""

import math
from collections.abc import Iterable, Mapping
from typing import Any


class Best:
    """The round with the best validation, of several equal ones the first; round 0 before there is
    one.

    `name` is what it is judged by, "accuracy" or "loss", and `value` what the best one has.
    """

    def __init__(self, lines: Iterable[dict[str, Any]]) -> None:
        """`lines` are those of metrics.jsonl so far."""
        self.round, self.name, self.value = 0, "accuracy", 0.0
        for line in lines:
            self.add(
                line["round"],
                {name: line.get(f"validation_{name}") for name in ("accuracy", "loss")},
            )

    def add(self, number: int, validation: Mapping[str, float | None]) -> None:
        """The next round, and what was measured on the validation half, by name; None where it is
        not known."""
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
