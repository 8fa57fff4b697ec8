"""One stage of a model as a node holds it: its parts, its weights and its optimizer. It knows
nothing of the others."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

from tdml.common.seeds import derive, seeded
from tdml.models.compute import Runner
from tdml.models.layout import Layout
from tdml.models.plan import Plan, layouts
from tdml.models.whole import outline
from tdml.node.clip import Clip
from tdml.node.messages import Channel, MessageRecorder, Passing, channels_of
from tdml.node.schedule import Schedule
from tdml.node.tie import tie_of
from tdml.node.trainer import Trainer
from tdml.settings.schema import Config
from tdml.tasks.objective import task_of


class Stage:
    """The layers, without weights until `trainer` begins or `write` puts some in.

    Args:
        index: which stage.
        plan: where the model is cut.
        border_device: where tensors lie when they cross to another stage.
    """

    def __init__(
        self,
        config: Config,
        index: int,
        plan: Plan,
        device: torch.device,
        border_device: torch.device,
    ) -> None:
        stages, self.plan, self.index = config.topology.stages, plan, index
        self._seed = config.seed
        self.parts = plan.parts_of(index, stages)
        self.first, self.last = index == 0, index == stages - 1
        self.microbatches, self.border_device = plan.microbatches, border_device
        self.batch_size = plan.borders[0].shape[0] * plan.microbatches
        model = outline(config.model, config.seed)
        self.channels: tuple[Channel, ...] = channels_of(config, plan, model)
        names = [name for name, _ in model.named_parameters()]
        shards = layouts(plan, model, stages)  # while what is tied is one tensor
        self._held = plan.cut(model, self.parts)
        for part in self._held:
            part.materialise(device)
        self.layout = Layout.of(self._held)
        self._stored = getattr(model, "stored", None)
        self.task, self.training_task = task_of(config), task_of(config, training=True)
        self.runners = [
            Runner(
                part.module,
                config.train,
                i == 0,
                device,
                border_device,
                partial(plan.check_crossing, i),
            )
            for part, i in zip(self._held, self.parts, strict=True)
        ]
        self._recorders = [
            MessageRecorder(r, i, self.channels)
            for r, i in zip(self.runners, self.parts, strict=True)
        ]
        self.schedule = Schedule(config.train, config.rounds)
        clip = None
        if config.train.clip_norm is not None:
            clip = Clip(config.train.clip_norm, names, shards, index, border_device, self.channels)
        keeps = config.sync.keeps_inner_state
        self.trainer = Trainer(self.layout, self._tensors, config.train, clip, keeps)
        self.tie = tie_of(self._held, self.channels, border_device)

    def freeze(self, values: Sequence[torch.Tensor]) -> None:
        """Take the parameters that are not trained."""
        for tensor, value in zip(self.frozen, values, strict=True):
            tensor.copy_(value)

    def stored(self) -> Iterable[torch.Tensor | None]:
        """What lies in the places of `frozen` in a folder that the model comes from, if it does."""
        names = [name for part in self._held for name in part.frozen]
        return self._stored(names) if self._stored else ()

    def write(self, weights: torch.Tensor) -> None:
        """Put in weights (d_s,) float32, to evaluate them."""
        self.layout.scatter(weights, self._tensors())

    @torch.no_grad()
    def shift(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Add to all that it holds, trained or not, what `change` gives for each tensor."""
        for tensor in (*self._tensors(), *self.frozen):
            tensor.add_(change(tensor))

    def has_drawn(self) -> bool:
        """Whether the model has drawn anything at random since this was last asked."""
        drawn = any(runner.has_drawn for runner in self.runners)
        for runner in self.runners:
            runner.has_drawn = False
        return drawn

    @contextmanager
    def training(self, seed: int, passing: Passing | None) -> Iterator[None]:
        """The time of one training step, in which everything that draws at random draws from
        `seed`."""
        self._start(passing, training=True)
        with self._drawing(seed):
            yield

    @contextmanager
    def evaluating(self, passing: Passing | None) -> Iterator[None]:
        """The time of one batch that is evaluated, in which the same is drawn in every batch."""
        self._start(passing, training=False)
        with self._drawing(derive(self._seed, "evaluation", self.index)):
            yield

    def padded(self, inputs: torch.Tensor) -> torch.Tensor:
        """A batch that may be short, made as long as all others by repeating its last sample."""
        if len(inputs) == self.batch_size:
            return inputs
        return torch.cat(
            [inputs, inputs[-1:].expand(self.batch_size - len(inputs), *inputs.shape[1:])]
        )

    @contextmanager
    def _drawing(self, seed: int) -> Iterator[None]:
        several = len(self.runners) > 1
        for part, runner in zip(self.parts, self.runners, strict=True):
            runner.reseed(derive(seed, part) if several else None)
        with seeded(seed):
            yield

    def _start(self, passing: Passing | None, training: bool) -> None:
        for part, recorder in zip(self._held, self._recorders, strict=True):
            _set_mode(part.module, training)
            recorder.start(passing)

    def _tensors(self) -> list[torch.Tensor]:
        """Parameters and buffers now, in the layout's order: a block may put another tensor in a
        buffer's place."""
        parameters = [tensor for part in self._held for tensor in part.tensors(part.parameters)]
        return parameters + [tensor for part in self._held for tensor in part.tensors(part.buffers)]

    @property
    def frozen(self) -> list[torch.Tensor]:
        """The parameters that are not trained."""
        return [tensor for part in self._held for tensor in part.tensors(part.frozen)]


def _set_mode(module: nn.Module, training: bool) -> None:
    """Call `module.train` only where it changes something: it takes a hundredth of a small step."""
    if any(inner.training is not training for inner in module.modules()):
        module.train(training)
