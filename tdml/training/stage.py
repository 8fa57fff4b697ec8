"""One stage of one replica as its node holds it: layers, the samples that it reads, and what it does with them."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from tdml.config import Config
from tdml.data import pieces
from tdml.data.pieces import Piece
from tdml.data.reader import Reader
from tdml.data.source import Source
from tdml.models.layout import Layout
from tdml.models.plan import Plan, layouts
from tdml.models.whole import outline
from tdml.training import borders
from tdml.training.clip import Clip
from tdml.training.pipeline import Pipeline
from tdml.training.schedule import Schedule
from tdml.training.trainer import Trainer


class Stage:
    """The layers, without weights until `trainer` begins or something is evaluated.

    Args:
        index: which stage; the default process group connects it to the others.
        border_device: where tensors lie when they cross to another stage.
        source: read at the first and the last stage only.
    """

    def __init__(
        self, config: Config, index: int, plan: Plan, device: torch.device, border_device: torch.device,
        source: Source | None,
    ) -> None:  # fmt: skip
        self._config, stages, self._microbatches = config, config.topology.stages, plan.microbatches
        model = outline(config.model, config.seed)
        self._parts = plan.cut(model, plan.parts_of(index, stages))
        for part in self._parts:
            part.materialise(device)
        self.layout = Layout.of(self._parts)
        self.pipeline = Pipeline(
            [part.module for part in self._parts], config.train, plan, index, stages, config.topology.schedule,
            plan.microbatches, device, border_device,
        )  # fmt: skip
        self.reader = Reader(source if self.pipeline.first or self.pipeline.last else None, config.seed)
        clip = None
        if config.train.clip_norm is not None:
            names = [name for name, _ in model.named_parameters()]
            clip = Clip(config.train.clip_norm, names, layouts(plan, model, stages), index, border_device)
        self.trainer = Trainer(self.pipeline, self.layout, self._tensors, config.train, clip)
        self.schedule = Schedule(config.train, config.rounds)

    def _tensors(self) -> list[torch.Tensor]:
        """Parameters and buffers now, in the layout's order: a block may put another tensor in a buffer's place."""
        parameters = [tensor for part in self._parts for tensor in part.tensors(part.parameters)]
        return parameters + [tensor for part in self._parts for tensor in part.tensors(part.buffers)]

    def records(self, steps: int) -> torch.Tensor:
        """Room for what crosses the node's borders in so many steps of training: see `tdml.training.borders`."""
        told = self._config.stages_that_tell_norms
        return borders.empty(steps, len(self.pipeline.modules), self._microbatches, told)

    def evaluate(
        self, weights: torch.Tensor, asked: tuple[Piece, ...], testimony: bool, measured: bool,
        go_on: Callable[[], None],
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:  # fmt: skip
        """What some weights (d_s,) make of the samples asked for: losses (s,) float32, and whether the most probable
        label is right (s,) bool, both empty but at the last stage; with `testimony`, what crossed the borders.

        Args:
            measured: see `tdml.training.borders.sketch`.
            go_on: asked before every batch; raises to give up.
        """
        self.layout.scatter(weights, self._tensors())
        losses, correct = [torch.empty(0)], [torch.empty(0, dtype=torch.bool)]
        size = self.pipeline.batch_size
        passes, parts = math.ceil(pieces.count(asked) / size), len(self.pipeline.modules)
        records = borders.empty(passes, parts, self._microbatches) if testimony else None
        # A cross-check asks the same of one candidate after the other.
        for i, (inputs, labels) in enumerate(self.reader.evaluation_batches(asked, size, again=testimony)):
            go_on()
            logits = self.pipeline.predict(inputs, None if records is None else records[i], measured)
            if logits is not None:
                logits = logits[: len(labels)].float().cpu()
                losses.append(F.cross_entropy(logits, labels, reduction="none"))
                correct.append(logits.argmax(dim=1) == labels)
        return torch.cat(losses), torch.cat(correct), records
