"""Data that stays with its owners (data.partition=own): what these say that they hold."""

from collections.abc import Callable

import numpy as np
import torch

from tdml.data.contents import Contents, difference, form_of
from tdml.data.source import Source
from tdml.errors import SettingError
from tdml.members.cards import Card
from tdml.protocol.names import first_slot, node_name
from tdml.settings.schema import Config, Topology

_OWN = "data.partition=own"
_MOST = 2**27  # samples of a replica: the coordinator keeps a number for each of them, 1 GiB


class Owners:
    """Checks that both ends of a replica hold the same data, and the same as before.

    Args:
        form: that of every sample, in words.
        shares: of the replicas, which become what their owners say.
        least: samples that each replica needs, those of one optimizer step.
        check: whether the model knows a label; raises SettingError.
    """

    def __init__(
        self,
        topology: Topology,
        form: str,
        shares: list[np.ndarray],
        least: int,
        check: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._form, self._shares, self._least, self._check = form, shares, least, check
        ranks = range(1, 1 + topology.replicas * topology.stages)
        self._slots = {node_name(rank, topology): first_slot(rank, topology) for rank in ranks}
        self._ends = (0, topology.stages - 1)
        self._held: dict[int, tuple[str, Contents]] = {}  # by replica: who has said so first

    def fault(self, name: str, card: Card) -> str | None:
        """Why a node may not take part, in one line; None if it may."""
        slot = self._slots.get(name)
        if slot is None:
            return (
                f"{_OWN}: the data of a replica stays with its owner, so that nobody else can take "
                "a place there: leave spares and tdml join out"
            )
        if slot.stage not in self._ends:
            return None
        if card.data is None:
            return f"{_OWN}: {name} says nothing of its data"
        return self._enter(name, slot.replica, card.data)

    def _enter(self, name: str, replica: int, contents: Contents) -> str | None:
        if contents.form != self._form:
            return (
                f"data: a sample of {name} is {contents.form[:100]}, one of rank 0 {self._form}: "
                "bring all to one form (of tables columns and data.classes, too)"
            )
        try:
            self._check(contents.largest_label)
        except SettingError as error:
            return f"the data of {name}: {error}"
        samples = contents.training_samples
        if samples < self._least:
            return (
                f"data: the {samples} training samples of {name} are too few for an optimizer step "
                f"on {self._least}: give it more, or lower train.batch_size or train.accumulate"
            )
        if samples > _MOST:
            return (
                f"data: {name} says that it has {samples} training samples: with {_OWN} a replica "
                f"may have at most {_MOST}: leave some out"
            )
        first, held = self._held.setdefault(replica, (name, contents))
        if part := difference(contents, held):
            other = f"{name}, now and before," if first == name else f"{first} and {name}"
            return (
                f"data: the {part} of {other} differ: with {_OWN} the first and the last stage of "
                "a replica must hold the same samples, in the same order, as long as the run lasts"
            )
        self._shares[replica] = np.arange(samples)
        return None


def owners_of(
    config: Config, source: Source, output: torch.Size, shares: list[np.ndarray]
) -> Owners | None:
    """The owners, where data stays with them. `output`: the shape of what the model returns."""
    if not config.own_data:
        return None

    def check(label: int) -> None:
        if hasattr(source.task, "check_output") and label >= 0:
            source.task.check_output(output, [label])

    least = config.train.effective_batch_size
    return Owners(config.topology, form_of(source), shares, least, check)
