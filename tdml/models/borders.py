"""The first micro-batch's way through the blocks, with real numbers, in training: what no shape
alone can tell.

Every block is given what it would get as the first of a part: a leaf of its own graph, that
requires gradients where something before it can be trained.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from tdml.common.digest import digest
from tdml.common.dtypes import travels
from tdml.common.seeds import seeded
from tdml.data.sample import advice
from tdml.errors import SettingError, one_line, refusing, running_on
from tdml.models.split import Border, tensors_in

Visit = Callable[[nn.Module, torch.Tensor], torch.Tensor]  # a block and its input → its output


def trace_borders(blocks: Sequence[nn.Module], inputs: torch.Tensor) -> list[Border]:
    """The input of each block and the output of the last.

    Args:
        blocks: with their weights, which stay as they are; so do their buffers.
        inputs: a micro-batch, on the same device.

    Returns len(blocks) + 1 borders.

    Raises:
        SettingError: a block rejects its input, returns something other than one tensor, or makes
            or replaces buffers such that nobody could exchange them.
    """
    with torch.no_grad():
        return walk(blocks, inputs, lambda block, given: block(given.clone()))


def trace_gradients(blocks: Sequence[nn.Module], inputs: torch.Tensor) -> list[bool]:
    """Of the input of each block: whether gradients cross that border, for something before it can
    be trained, and the output depends on it. Arguments and errors as in `trace_borders`."""
    alive: list[bool] = []
    linked: list[bool] = []

    def visit(block: nn.Module, given: torch.Tensor) -> torch.Tensor:
        output = block(given.clone())
        alive.append(given.requires_grad)
        linked.append(
            given.requires_grad and output.requires_grad and _depends(output, given, len(linked))
        )
        return output

    walk(blocks, inputs, visit)
    return [alive[k] and all(linked[k:]) for k in range(len(alive))]


def changed_buffers(blocks: Sequence[nn.Module], inputs: torch.Tensor) -> set[int]:
    """The buffers, by `id`, that a pass changes. Arguments and errors as in `trace_borders`."""
    changed: set[int] = set()

    def visit(block: nn.Module, given: torch.Tensor) -> torch.Tensor:
        before = _buffers(block)
        output = block(given.clone())
        after = _buffers(block)
        changed.update(before[name][0] for name in before if before[name] != after.get(name))
        return output

    with torch.no_grad():
        walk(blocks, inputs, visit)
    return changed


def _buffers(block: nn.Module) -> dict[str, tuple[int, bytes]]:
    """Which they are, and what they hold."""
    return {name: (id(buffer), digest(buffer.detach())) for name, buffer in block.named_buffers()}


_OF_ONE = ": it is one sample here: take a train.batch_size that is larger, or has more divisors"

_OF_GRADIENTS = (
    ": forward() takes gradients by itself, and passes of an evaluation compute none: let it do so "
    "under torch.enable_grad()"
)


def walk(blocks: Sequence[nn.Module], inputs: torch.Tensor, visit: Visit) -> list[Border]:
    """Pass a micro-batch on from block to block by `visit`, which must leave what it is given as it
    is. Returns and raises as `trace_borders`."""
    value, borders = inputs, [Border(inputs.shape, inputs.dtype)]
    with _as_they_were(blocks), seeded(0):
        for number, block in enumerate(blocks):
            form = _form(block)
            try:
                with running_on():
                    value = visit(block, value.detach().requires_grad_(value.requires_grad))
            except SettingError:
                raise
            except Exception as error:
                as_given = all(border.dtype == inputs.dtype for border in borders)
                of_inputs = advice(inputs.dtype) if as_given else ""
                of_one = _OF_ONE if len(inputs) == 1 else ""
                text = one_line(error)
                of_gradients = _OF_GRADIENTS if "does not require grad" in text else ""
                raise SettingError(
                    f"model: block {number} does not take a micro-batch of "
                    f"{tuple(borders[-1].shape)}: {text} (see model, data, "
                    f"train.batch_size and topology.microbatches){of_gradients}{of_one}{of_inputs}"
                ) from error
            last = number == len(blocks) - 1
            if (
                not isinstance(value, torch.Tensor)
                or not travels(value.dtype)
                or (last and not value.is_floating_point())
            ):
                raise SettingError(
                    f"model: block {number} ({type(block).__name__}) returns {_kind(value)}: it "
                    "must return one floating-point tensor"
                )
            _check_form(number, form, block)
            borders.append(Border(value.shape, value.dtype))
    return borders


def _depends(output: torch.Tensor, given: torch.Tensor, number: int) -> bool:
    with refusing(f"model: the gradients of block {number} cannot be computed", RuntimeError):
        return torch.autograd.grad(output.sum(), given, allow_unused=True)[0] is not None


def _kind(value: object) -> str:
    if not isinstance(value, torch.Tensor):
        return f"a {type(value).__name__}"
    apart = " (take it apart by torch.view_as_real)" if value.is_complex() else ""
    return f"{value.dtype}{apart}"


_Form = tuple[torch.Size, torch.dtype, bool]  # the last: whether it is trained


def _form(block: nn.Module) -> dict[str, _Form]:
    trained = {name for name, parameter in block.named_parameters() if parameter.requires_grad}
    return {name: (t.shape, t.dtype, name in trained) for name, t in tensors_in(block)}


def _check_form(number: int, before: dict[str, _Form], block: nn.Module) -> None:
    """A block may put other tensors in its buffers' places, but only such as can be exchanged as
    they were. What of it is trained stays so."""
    after = _form(block)
    changed = [n for n in sorted(before.keys() | after.keys()) if before.get(n) != after.get(n)]
    if changed:
        raise SettingError(
            f"model: block {number}: its first pass makes {changed[0]}, gives it another form, or "
            "decides whether it is trained: make it in the constructor, keep its shape, and set "
            "its requires_grad there or in train()"
        )
    for name, buffer in block.named_buffers():
        if buffer.requires_grad:
            raise SettingError(
                f"model: block {number} keeps {name} with its graph: detach() what it keeps"
            )


@contextmanager
def _as_they_were(blocks: Sequence[nn.Module]) -> Iterator[None]:
    """In training mode, and afterwards as before: the mode, and all parameters and buffers."""
    modules = {module for block in blocks for module in block.modules()}
    modes = {module: module.training for module in modules}
    kept = [
        (module, *own, own[1].detach().clone())
        for module in modules
        for own in _own_tensors(module)
    ]
    for block in blocks:
        block.train()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        with torch.no_grad():
            for module, name, tensor, value in kept:
                if getattr(module, name, None) is not tensor:
                    setattr(module, name, tensor)
                if tensor.shape != value.shape:  # resized in place, as observers of quantisation do
                    tensor.resize_(value.shape)
                tensor.copy_(value)
                tensor.grad = None


def _own_tensors(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    parameters = module.named_parameters(recurse=False, remove_duplicate=False)
    return [*parameters, *module.named_buffers(recurse=False, remove_duplicate=False)]
