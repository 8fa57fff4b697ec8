"""The chain of blocks against the model's own `forward`: what lies between the blocks would not be
trained."""

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from tdml.common.seeds import seeded
from tdml.errors import SettingError, one_line
from tdml.models import whole
from tdml.models.split import adds_nothing, blocks_of, is_plain_sequence
from tdml.rehearsal.chain import Chain

_RELATIVE, _ABSOLUTE = 1e-3, 1e-5  # the same sums in another order are the same model
_ROUNDING = 1e-6


def check_own_forward(model: nn.Module, chain: Chain, inputs: torch.Tensor, seed: int) -> None:
    """Compare `model(inputs)` with what the chain returns, in training and in evaluation.

    A model without a `forward` of its own, or whose `forward` takes something else, has nothing to
    compare.

    Raises:
        SettingError: they differ.
    """
    if adds_nothing(model):
        return
    kept = {name: tensor.clone() for name, tensor in whole.tensors_of(model).items()}
    was_training = model.training
    try:
        for training in (False, True):
            _compare(model, chain, inputs, seed, training)
    finally:
        whole.restore(model, kept)
        model.train(was_training)


@torch.no_grad()
def _compare(
    model: nn.Module, chain: Chain, inputs: torch.Tensor, seed: int, training: bool
) -> None:
    given: dict[int, torch.Tensor] = {}
    hooks = _note_inputs(model, given)
    try:
        with seeded(seed):
            own = model.train(training)(inputs.clone())
    except Exception as error:
        if _is_exact(model):
            raise SettingError(
                f"model: {type(model).__name__} fails on the first samples: {one_line(error)}"
            ) from error
        return
    finally:
        for hook in hooks:
            hook.remove()
    own = getattr(own, "logits", own)  # of Hugging Face's models
    if not isinstance(own, torch.Tensor):
        return
    values = chain.values(inputs, seed, training)
    mode = "training" if training else "evaluation"
    for number, value in given.items():
        if number > 0 and not _alike(value, values[number - 1], model):
            raise SettingError(_message(model, f"before block {number}", mode))
    if not _alike(own, values[-1], model):
        raise SettingError(_message(model, "before it returns", mode))


def _note_inputs(model: nn.Module, given: dict[int, torch.Tensor]) -> list[RemovableHandle]:
    """Hooks that keep what `model` gives each of its blocks, by number. A module that is listed
    several times, such as one activation between all layers, is called as often. Those that are
    compiled (TorchScript) take no hooks."""
    numbers: dict[nn.Module, list[int]] = {}
    for number, block in enumerate(blocks_of(model)):
        numbers.setdefault(block, []).append(number)

    def note(block: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        if later := [number for number in numbers[block] if number not in given]:
            given[later[0]] = args[0].clone()

    return [
        block.register_forward_pre_hook(note)
        for block in numbers
        if not isinstance(block, torch.jit.ScriptModule)
    ]


def _is_exact(model: nn.Module) -> bool:
    """Whether somebody else has cut it into blocks, which must do the very same, and not only
    nearly."""
    return getattr(model, "blocks_are_exact", False)


def _message(model: nn.Module, where: str, mode: str) -> str:
    if _is_exact(model):
        return (
            f"model: {type(model).__name__} does something {where} that is in none of its layers "
            f"(in {mode}), and only layers are trained: take another architecture"
        )
    if is_plain_sequence(model):
        return (
            f"model: a hook of {type(model).__name__}, or a train() of its own, does something "
            f"{where} (in {mode}), and only its blocks are trained: let one of them do it"
        )
    return (
        f"model: forward() does something {where} that blocks() leaves out (in {mode}), and only "
        "blocks are trained: put functions such as relu or flatten into blocks of their own "
        "(nn.ReLU(), nn.Flatten()), and so with hooks and a train() of its own"
    )


def _alike(one: torch.Tensor, other: torch.Tensor, model: nn.Module) -> bool:
    relative, absolute = (
        (_ROUNDING, _ROUNDING * float(one.abs().max()))
        if _is_exact(model)
        else (_RELATIVE, _ABSOLUTE)
    )
    return one.shape == other.shape and torch.allclose(
        one.float(), other.float(), relative, absolute, equal_nan=True
    )
