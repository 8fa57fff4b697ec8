"""How much memory a node needs, known before it is started.

What the parts of the model keep for the backward pass is measured, with one micro-batch on the
host; everything else is computed. What Python and torch need themselves is not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from tdml.models.borders import walk
from tdml.models.compute import Runner
from tdml.models.layout import Layout
from tdml.models.plan import Plan
from tdml.models.split import Border, Part, tensors_in
from tdml.node.state import StateLayout
from tdml.settings.schema import Config, Topology, Train

_FLOAT = torch.float32.itemsize
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Need:
    """The memory that a node needs, in bytes."""

    device: int  # where it computes
    host: int

    @property
    def total(self) -> int:
        """What a node needs that computes on its processor."""
        return self.device + self.host


def needs(
    config: Config,
    plan: Plan,
    model: nn.Module,
    inputs: torch.Tensor,
    states: Sequence[StateLayout],
    windows: int,
) -> list[Need]:
    """The memory that a node needs, by stage.

    Args:
        model: the un-split model with its initial weights, which stay as they are.
        inputs: the first micro-batch.
        states: by stage.
        windows: of a round's steps, for audits; 0: there are none.
    """
    parts, stages = plan.cut(model, range(plan.parts)), config.topology.stages
    kept, once = _activations(config, parts, inputs)
    by_stage = []
    for stage, state in enumerate(states):
        own = plan.parts_of(stage, stages)
        device = _tensors([parts[i] for i in own], state) + _borders(plan, own)
        mean = sum(kept[i] for i in own) / len(own)
        device += round(mean * in_flight(config.topology, plan.microbatches, stage))
        device += max(once[i] for i in own)
        by_stage.append(
            Need(device, _on_the_host(config, Layout.of([parts[i] for i in own]), state, windows))
        )
    return by_stage


def _activations(
    config: Config, parts: Sequence[Part], inputs: torch.Tensor
) -> tuple[list[int], list[int]]:
    """By part of the model, for one micro-batch: the bytes that its forward pass keeps for the
    backward pass, and those that the backward pass needs once."""
    train = replace(config.train, channels_last=False)  # which takes as much
    modules = [part.module for part in parts]
    kept, output = _kept(modules, train, inputs)
    once = [0] * len(parts)
    if train.activation_checkpointing:  # the backward pass computes one block again at a time
        plain = replace(train, activation_checkpointing=False)
        blocks, _ = _kept([nn.Sequential(b) for m in modules for b in m], plain, inputs)
        each = iter(blocks)
        once = [max(next(each) for _ in module) for module in modules]
    logits = output.shape.numel() * _FLOAT
    kept[-1] += logits if output.dtype == torch.float32 else 2 * logits  # what the loss keeps
    once[-1] += 2 * logits  # gradients of that and of the logits
    return kept, once


def in_flight(topology: Topology, microbatches: int, stage: int) -> int:
    """The most activations that a stage keeps at a time, one for each micro-batch and part that has
    gone forward and not yet backward."""
    stages, chunks = topology.stages, topology.parts // topology.stages
    if topology.schedule == "gpipe":
        return microbatches
    if topology.schedule == "1f1b":
        return min(stages - stage, microbatches)
    in_turn = microbatches // max(1, microbatches // stages)
    ahead = (chunks - 1) * in_turn + 2 * (stages - 1 - stage)
    return min(ahead + 1, chunks * microbatches)


def _kept(
    modules: Sequence[nn.Module], train: Train, inputs: torch.Tensor
) -> tuple[list[int], Border]:
    """The bytes that a forward pass keeps, by module; and what the last module returns."""
    own = {_place(tensor) for module in modules for _, tensor in tensors_in(module)}
    sizes: list[int] = []

    def visit(runner: nn.Module, given: torch.Tensor) -> torch.Tensor:
        kept = {_place(given): given.nbytes}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            stored = tensor.layout is torch.strided and not tensor._is_zerotensor()
            if stored and _place(tensor) not in own:
                kept[_place(tensor)] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            output = runner(given)
        kept[_place(output)] = output.nbytes
        sizes.append(sum(kept.values()))
        return output.detach().requires_grad_(output.requires_grad)

    runners = [Runner(module, train, i == 0, _CPU, _CPU) for i, module in enumerate(modules)]
    borders = walk(runners, inputs, visit)
    return sizes, borders[-1]


def _place(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tensors(parts: Sequence[Part], state: StateLayout) -> int:
    """The bytes of weights, gradients, and the optimizer's state."""
    layout = Layout.of(parts)
    frozen = sum(t.numel() for part in parts for t in part.tensors(part.frozen))
    borrowed = sum(t.numel() for part in parts for t in part.tensors(part.borrowed))
    trained = layout.parameters + borrowed
    return _FLOAT * (state.size + trained + borrowed + frozen)


def _borders(plan: Plan, parts: Sequence[int]) -> int:
    """The bytes of what a stage receives for all micro-batches: the parts' inputs, and gradients of
    their outputs."""
    received = [plan.borders[i] for i in parts if i > 0]
    received += [plan.borders[i + 1] for i in parts if i + 1 < plan.parts]
    return plan.microbatches * sum(b.shape.numel() * b.dtype.itemsize for b in received)


def _on_the_host(config: Config, layout: Layout, state: StateLayout, windows: int) -> int:
    """The bytes that a node keeps in host memory: the global weights, those of the next round as
    they come, the new weights and the update; its states between windows, and another node's that
    it repeats from, in blocks and as a whole; the inner states before and after the round."""
    states = (windows + 1) * state.size if windows else 0
    inner = 2 * state.inner.size if config.sync.keeps_inner_state else 0
    return _FLOAT * (4 * layout.size + states + inner)
