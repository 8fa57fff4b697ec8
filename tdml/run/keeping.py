"""What a run keeps on the disk: what it goes on from, and its models."""

import copy
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch

from tdml.cluster.fleet import RpcFleet
from tdml.models import whole
from tdml.monitor.run_folder import BEST_MODEL
from tdml.round.checkpoint import Checkpoint, Return, drop, load, save, save_atomically, set_aside
from tdml.round.engine import Engine
from tdml.round.saving import Saving

if TYPE_CHECKING:
    from tdml.monitor.monitor import Monitor


class Keeping:
    """The checkpoints and models of a run, which are written as its engine and its fleet stand.
    `last` is the round whose checkpoint it goes on from; 0: none."""

    def __init__(self, engine: Engine, fleet: RpcFleet, monitor: "Monitor", last: int) -> None:
        self._engine, self._job, self._fleet = engine, engine.job, fleet
        self._best, self._folder = monitor.best, monitor.folder
        self._saving = Saving(last)

    def checkpoint(
        self, number: int, metrics: str, notices: Sequence[str], back: Return | None = None
    ) -> None:
        """Have written what the round after this one depends on, while that is played: all that
        changes meanwhile is copied. `metrics` is the round's line of metrics.jsonl."""
        self._job.write_weights(self._engine.weights)
        tensors = whole.tensors_of(self._job.model)
        checkpoint = Checkpoint(
            round=number,
            model={name: tensor.detach().clone() for name, tensor in tensors.items()},
            outer=self._engine.outer.state(),
            moved=self._engine.moved,
            cuts=list(self._job.plan.cuts),
            fleet=copy.deepcopy(self._fleet.state()),
            judge=copy.deepcopy(self._engine.judge.state()),
            balance=self._engine.balance.state(),
            left_out=dict(self._job.left_out.since),
            notices=list(notices),
            metrics=metrics,
            back=back,
        )
        memory = self._job.config.checkpoint.memory * 2**20
        self._saving.begin(number, partial(save, checkpoint, self._folder.checkpoints, memory))

    def finish(self) -> None:
        """Wait until the checkpoint is on the disk. Raises as `Saving.finish`."""
        self._saving.finish()

    def before(self, number: int) -> Checkpoint | None:
        """The newest checkpoint of an earlier round; None if there is none."""
        self._saving.finish()  # it drops old ones
        return load(self._folder.checkpoints, number)

    def set_aside(self, number: int) -> str:
        """Keep the checkpoint of a round until the user removes it; its name in their folder."""
        return set_aside(self._folder.checkpoints, number)

    def drop_after(self, number: int) -> None:
        """Remove the checkpoints of the rounds that are taken back."""
        self._saving.finish()
        drop(self._folder.checkpoints, number)

    def best(self, number: int) -> None:
        """Write the weights after this round to model-best.pt, if no other was as good. Where none
        is the best, what lies there is of a round that was taken back."""
        if self._best.round == 0:
            (self._folder.path / BEST_MODEL).unlink(missing_ok=True)
        elif self._best.round == number:
            self._model(BEST_MODEL)

    def model(self) -> dict[str, torch.Tensor]:
        """Write the weights that the run ends with to model.pt."""
        self._saving.finish()
        return self._model("model.pt")

    def _model(self, name: str) -> dict[str, torch.Tensor]:
        model = self._job.write_weights(self._engine.weights)
        save_atomically(model, self._folder.path / name)
        return model
