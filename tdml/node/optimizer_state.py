"""What an optimizer keeps of its parameters, as one flat vector from which it goes on bit for bit.

Nobody says what that is: two steps of the optimizer on tensors of the same shapes show it.
"""

import inspect
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from tdml.common.comparable import comparable
from tdml.common.seeds import seeded
from tdml.errors import SettingError
from tdml.node.inner import inner_optimizer
from tdml.settings.schema import Train
from tdml.settings.targets import is_path, made

_NUMBERS = {bool: torch.bool, int: torch.int64, float: torch.float64}
_PIECES = 3  # float32 numbers that add up to any float64
_PROBES = 2
# of an optimizer: its parameters, what it keeps of each, and whether torch has yet to see that it
# can fuse what is computed on their device
_OF_PARAMETERS = {"param_groups", "state", "_need_device_dtype_check_for_fused"}


@dataclass(frozen=True)
class StateEntry:
    """What is kept of a parameter under one name: a tensor, or a number of Python's, whose shape is
    None."""

    name: str
    shape: torch.Size | None
    dtype: torch.dtype
    device: torch.device

    @staticmethod
    def of(name: str, value: Any) -> "StateEntry":
        """
        Raises:
            SettingError: it is neither tensor nor number.
        """
        if (
            isinstance(value, torch.Tensor)
            and not value.is_complex()
            and value.layout is torch.strided
        ):
            return StateEntry(name, value.shape, value.dtype, value.device)
        if type(value) in _NUMBERS:
            return StateEntry(name, None, _NUMBERS[type(value)], torch.device("cpu"))
        raise SettingError(
            f"train.optimizer keeps {name}, a {type(value).__name__}, of its parameters: only real "
            "tensors and numbers can be audited"
        )

    @property
    def size(self) -> int:
        """Numbers in the flat vector."""
        count = 1 if self.shape is None else self.shape.numel()
        return count * (_PIECES if self.dtype == torch.float64 else 1)

    def read(self, value: Any) -> torch.Tensor:
        """(size,) float32 on the host."""
        flat = torch.as_tensor(value, dtype=self.dtype).detach().reshape(-1).cpu()
        if self.dtype != torch.float64:
            return flat.float()
        pieces = []
        for _ in range(_PIECES):
            pieces.append(flat.float())
            flat = torch.where(pieces[-1].isfinite(), flat - pieces[-1].double(), 0.0)
        return torch.cat(pieces)

    def write(self, flat: torch.Tensor, parameter: torch.Tensor) -> Any:
        """Undo `read`, for a parameter, whose place in memory a tensor of its shape takes over."""
        if self.dtype == torch.float64:
            flat = flat.double().view(_PIECES, -1).sum(dim=0)
        if self.shape is None:
            return flat.to(self.dtype).item()
        like = parameter if self.shape == parameter.shape else torch.empty(self.shape)
        return torch.empty_like(like, dtype=self.dtype, device=self.device).copy_(
            flat.view(self.shape)
        )


class OptimizerState:
    """The vector of some parameters: whether each slot is filled, then what is in all slots of one
    name, of the next, and so on. A slot that is not filled yet is zero."""

    def __init__(self, train: Train, shapes: Sequence[torch.Size], device: torch.device) -> None:
        """
        Raises:
            SettingError: the optimizer cannot take steps, or keeps something that cannot be
                audited.
        """
        known = _probe(train, list(dict.fromkeys(shapes)), device)
        self._known = [{slot.name: slot for slot in known[shape]} for shape in shapes]
        self._names = list(dict.fromkeys(name for slots in self._known for name in slots))
        self._entries = [
            (number, slots[name])
            for name in self._names
            for number, slots in enumerate(self._known)
            if name in slots
        ]
        self._sizes = [slot.size for _, slot in self._entries]
        self.size = len(self._entries) + sum(self._sizes)
        target = train.optimizer["_target_"]
        if self._entries and is_path(target) and not target.startswith("torch.optim."):
            self._check_that_it_goes_on(train, shapes, device)

    def read(
        self, optimizer: Optimizer | None, parameters: Sequence[nn.Parameter], out: torch.Tensor
    ) -> None:
        """Write what the optimizer keeps now: `out` is (size,) float32 on the host.

        Raises:
            SettingError: it keeps what it had not kept when it was tried.
        """
        kept = [optimizer.state.get(p, {}) if optimizer else {} for p in parameters]
        for slots, state in zip(self._known, kept, strict=True):
            for name, value in state.items():
                if value is not None and slots.get(name) != StateEntry.of(name, value):
                    raise SettingError(
                        f"train.optimizer: what it keeps as {name} is not the same at every step: "
                        "have it there from the first or second on, in one shape and type"
                    )
        values = [kept[number].get(slot.name) for number, slot in self._entries]
        filled = torch.tensor([float(value is not None) for value in values])
        flats = [
            torch.zeros(slot.size) if value is None else slot.read(value)
            for (_, slot), value in zip(self._entries, values, strict=True)
        ]
        torch.cat([filled, *flats], out=out)

    def write(
        self, flat: torch.Tensor, optimizer: Optimizer | None, parameters: Sequence[nn.Parameter]
    ) -> None:
        """Have the optimizer go on from a vector."""
        if optimizer is None:
            return
        optimizer.state.clear()
        filled, rest = flat.split([len(self._entries), self.size - len(self._entries)])
        for (number, slot), there, piece in zip(
            self._entries, filled, rest.split(self._sizes), strict=True
        ):
            if there:
                parameter = parameters[number]
                optimizer.state[parameter][slot.name] = slot.write(piece, parameter)

    def _check_that_it_goes_on(
        self, train: Train, shapes: Sequence[torch.Size], device: torch.device
    ) -> None:
        """Take a step from what is kept after one step, and after two, and from what was kept.

        Raises:
            SettingError: they lead to something else, as where a None is kept, which is lost.
        """
        pairs: list[tuple[nn.Parameter, nn.Parameter]] = []
        for steps in range(1, 1 + _PROBES):
            one = [nn.Parameter(torch.ones(shape, device=device)) for shape in shapes]
            optimizer, kept = inner_optimizer(train, one), torch.empty(self.size)
            _step(train, optimizer, one, steps)
            self.read(optimizer, one, kept)
            other = [nn.Parameter(parameter.detach().clone()) for parameter in one]
            resumed = inner_optimizer(train, other)
            self.write(kept, resumed, other)
            _step(train, optimizer, one)
            self.read(optimizer, one, kept)  # it keeps no more than what it kept when it was tried
            with suppress(Exception):
                _step(train, resumed, other)
            pairs += zip(one, other, strict=True)
        if not all(torch.equal(one, other) for one, other in pairs):
            raise SettingError(
                f"train.optimizer={train.optimizer['_target_']} does not go on from what it keeps "
                "of its parameters: keep tensors and numbers there, and no None, from its first "
                "step on"
            )

    def sections(self, flat: torch.Tensor) -> list[torch.Tensor]:
        """The vector in pieces that are each of one kind."""
        sizes = [
            sum(slot.size for _, slot in self._entries if slot.name == name) for name in self._names
        ]
        return list(flat.split([len(self._entries), *sizes])) if self._entries else []


def _probe(
    train: Train, shapes: Sequence[torch.Size], device: torch.device
) -> dict[torch.Size, list[StateEntry]]:
    """What is kept of a parameter of each shape, in the order of its names."""
    parameters = [nn.Parameter(torch.ones(shape, device=device)) for shape in shapes]
    optimizer = inner_optimizer(train, parameters)
    if optimizer is None:
        return {}
    name, before = train.optimizer["_target_"], _settings_of(optimizer)
    try:
        inspect.signature(optimizer.step).bind()
    except TypeError:
        raise SettingError(
            f"train.optimizer={name} takes a closure, to compute gradients several times a step: "
            "stages compute them once, so choose one whose step() needs no argument"
        ) from None
    _step(train, optimizer, parameters, _PROBES)
    if _settings_of(optimizer) != before or optimizer.state.keys() - set(parameters):
        raise SettingError(
            f"train.optimizer={name} keeps something beside the state of single parameters, which "
            "nobody could audit: keep it there (self.state[parameter]), or choose another"
        )
    kept = [optimizer.state.get(parameter, {}) for parameter in parameters]
    slots = [
        [StateEntry.of(key, state[key]) for key in sorted(state) if state[key] is not None]
        for state in kept
    ]
    return dict(zip(shapes, slots, strict=True))


def _step(
    train: Train, optimizer: Optimizer | None, parameters: Sequence[nn.Parameter], times: int = 1
) -> None:
    """Raises SettingError where the optimizer cannot take a step."""
    assert optimizer is not None
    with seeded(0):
        for _ in range(times):
            for parameter in parameters:
                parameter.grad = torch.full_like(parameter, 0.1)
            made("train.optimizer", train.optimizer["_target_"], optimizer.step)


def _settings_of(optimizer: Optimizer) -> str:
    """All that it holds beside the parameters, and what it keeps of each."""
    groups = [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]
    attributes = {k: v for k, v in vars(optimizer).items() if k not in _OF_PARAMETERS}
    return repr((groups, comparable(attributes)))
