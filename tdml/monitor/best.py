"""Which round was the best so far, by the validation accuracy."""

from collections.abc import Iterable
from typing import Any


class Best:
    """The round with the best validation accuracy, of several equal ones the first; round 0 before there is one."""

    def __init__(self, lines: Iterable[dict[str, Any]]) -> None:
        """`lines` are those of metrics.jsonl so far."""
        self.round, self.accuracy = 0, 0.0
        for line in lines:
            self.add(line["round"], line.get("validation_accuracy"))

    def add(self, number: int, accuracy: float | None) -> None:
        """The next round; None where its accuracy is not known."""
        if accuracy is not None and (self.round == 0 or accuracy > self.accuracy):
            self.round, self.accuracy = number, accuracy

    def no_better(self, number: int, patience: int | None) -> str:
        """Why a run ends after a round, if the `patience` last ones were no better; "" if it goes on."""
        if patience is None or not self.round or number - self.round < patience:
            return ""
        return f"no better validation accuracy since round {self.round} (train.patience={patience})"
