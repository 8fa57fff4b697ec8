"""What a user's model may hold: tensors that survive the way through flat float32 vectors."""

from collections.abc import Iterable, Iterator

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from tdml.errors import SettingError

_EXACT = 2**24  # whole numbers up to here are exact in float32


def bring_into_form(model: nn.Module) -> None:
    """What can be had in the form that is exchanged is brought into it: gradients of embeddings are
    dense, and tensors that repeat one value by a stride of 0 get memory for each, for every value
    is written.

    Raises:
        SettingError: names a tensor that cannot be exchanged, or a layer that exchanges by itself,
            and says what to do.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            module.sparse = False
        if isinstance(module, nn.SyncBatchNorm):
            raise SettingError(
                f"model: {name} is a SyncBatchNorm, which computes with all other processes, and "
                "a node's step must follow from its own samples: take BatchNorm"
            )
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            raise SettingError(
                f"model: {name or 'it'} has get_extra_state(), and nodes exchange tensors alone: "
                "keep what is in it as buffers"
            )
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if fault := _fault(tensor):
            raise SettingError(f"model: {name} {fault}")
        if tensor._backward_hooks or tensor._post_accumulate_grad_hooks:
            raise SettingError(
                f"model: {name} has a hook on its gradient, and the tensors that nodes make in its "
                "place have none: let the block do it (register_full_backward_hook), or its "
                "forward()"
            )
        if any(
            stride == 0 and size > 1
            for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
        ):
            tensor.data = tensor.data.contiguous()
    _check_ties(model)


def _fault(tensor: torch.Tensor) -> str:
    if is_lazy(tensor):
        return "gets its shape from the first batch: give its layer the sizes instead"
    if tensor.layout is not torch.strided:
        return "is sparse, and only dense tensors are exchanged: keep it dense (to_dense())"
    if tensor.is_complex():
        return (
            "holds complex numbers, and only real ones are exchanged: keep its real and imaginary "
            "parts (torch.view_as_real)"
        )
    trained = tensor.requires_grad and tensor.dtype is not torch.float32  # would lose small steps
    if trained or tensor.dtype is torch.float64:
        return (
            f"is {str(tensor.dtype).removeprefix('torch.')}, and nodes exchange float32: make it "
            "float32 (float(), or dtype=torch.float32), of which train.precision=bf16 computes in "
            "bfloat16"
        )
    whole = not (tensor.is_floating_point() or tensor.dtype is torch.bool or tensor.is_meta)
    if whole and tensor.numel() and tensor.double().abs().max() > _EXACT:
        return (
            "holds whole numbers above 2^24, which float32 would round, and nodes exchange "
            "float32: keep it as two buffers, such as value // 2**16 and value % 2**16"
        )
    return ""


def _check_ties(model: nn.Module) -> None:
    """Parameters are told apart by what they are: two that share memory would each get their own on
    a node, and so would a buffer that shares it with one that is trained."""
    owners: dict[int, str] = {}
    for name, parameter in _with_memory(model.named_parameters()):
        if (other := owners.setdefault(parameter.data_ptr(), name)) != name:
            raise SettingError(
                f"model: {other} and {name} share their memory, but are two parameters: tie them "
                "by assigning one to both (a.weight = b.weight)"
            )
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    moving = {parameter.data_ptr(): name for name, parameter in _with_memory(trained)}
    for name, buffer in _with_memory(model.named_buffers()):
        if owner := moving.get(buffer.data_ptr()):
            raise SettingError(
                f"model: the buffer {name} shares the memory of the parameter {owner}, and nodes "
                "give it memory of its own: register its clone(), or have forward() use the other"
            )


def _with_memory(named: Iterable[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
    return ((name, t) for name, t in named if not t.is_meta and t.numel())
