"""What crosses from stage to stage in a step, and the log that every node keeps of it.

An audit that finds a false state must tell the node that lied from those that it misled. So each
node logs a digest of every message that it has sent or received; before it commits to its round,
the two ends of every channel compare their logs and sign what they agree on. The first message that
recomputation does not confirm names its sender.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from blake3 import blake3
from torch import nn
from torch.utils.hooks import RemovableHandle

from tdml.models.plan import Plan
from tdml.models.split import blocks_of, tied
from tdml.settings.schema import Config

ACTIVATION, GRADIENT, NORM = "activation", "gradient", "norm"
TIED, TIED_GRADIENT = "tied weights", "gradient of tied weights"
_DIGEST = 32  # bytes


@dataclass(frozen=True)
class Channel:
    """A way from one stage to another. In every step one message goes along it: a tensor for each
    micro-batch, in their order; for tied weights and norms, one for all micro-batches."""

    kind: str
    sender: int
    receiver: int
    place: int = -1  # the part of the model that sends; norms come from no part

    def __str__(self) -> str:
        return f"the {self.kind} that stage {self.sender} sends to stage {self.receiver}"


def channels(parts: int, stages: int, clipped: bool, ties: bool = False) -> tuple[Channel, ...]:
    """All channels of a replica, in the order in which one message depends on another: activations
    down the parts of the model, which are dealt to the stages in turn, gradients back, and where
    gradients are clipped the norms of every stage's to every other. Where the model's ends share
    weights (`ties`), these come to the last stage before all else, and their gradient goes back."""
    if stages == 1:
        return ()
    down = [Channel(ACTIVATION, p % stages, (p + 1) % stages, p) for p in range(parts - 1)]
    back = [Channel(GRADIENT, p % stages, (p - 1) % stages, p) for p in range(parts - 1, 0, -1)]
    pairs = itertools.permutations(range(stages), 2) if clipped else ()
    norms = [Channel(NORM, *pair) for pair in pairs]
    lent = [Channel(TIED, 0, stages - 1, 0)] if ties else []
    returned = [Channel(TIED_GRADIENT, stages - 1, 0, parts - 1)] if ties else []
    return (*lent, *down, *back, *returned, *norms)


def channels_of(config: Config, plan: Plan, model: nn.Module) -> tuple[Channel, ...]:
    """The channels between the stages of a job's replicas."""
    clipped, ties = config.train.clip_norm is not None, bool(tied(blocks_of(model)))
    return channels(plan.parts, config.topology.stages, clipped, ties)


def empty_log(steps: int, channels: Sequence[Channel]) -> torch.Tensor:
    """The log of steps that are not taken yet: (steps, channels, 32) uint8, zero. A channel between
    two other stages stays zero."""
    return torch.zeros(steps, len(channels), _DIGEST, dtype=torch.uint8)


def of_stage(channels: Sequence[Channel], stage: int) -> list[int]:
    """The numbers of the channels that a stage is an end of."""
    return [i for i, channel in enumerate(channels) if stage in (channel.sender, channel.receiver)]


def between(channels: Sequence[Channel], one: int, other: int) -> list[int]:
    """The numbers of the channels between two stages."""
    return [i for i, c in enumerate(channels) if {c.sender, c.receiver} == {one, other}]


def digest_of(message: Sequence[torch.Tensor]) -> bytes:
    """BLAKE3 over a message's tensors: types, shapes and values."""
    hasher = blake3()
    for tensor in message:
        _feed(hasher, tensor)
    return hasher.digest()


def as_row(digest: bytes) -> torch.Tensor:
    """A digest as a log holds it: (32,) uint8."""
    return torch.frombuffer(bytearray(digest), dtype=torch.uint8)


@dataclass
class Passing:
    """The messages that a node sends and receives in one step, as a running digest a channel."""

    keeps: bool = False  # whether the tensors are kept, too
    kept: dict[int, list[torch.Tensor]] = field(default_factory=dict)
    _hashes: dict[int, blake3] = field(default_factory=dict)

    def note(self, channel: int, tensor: torch.Tensor) -> None:
        """Note the next micro-batch's tensor on a channel."""
        _feed(self._hashes.setdefault(channel, blake3()), tensor)
        if self.keeps:
            self.kept.setdefault(channel, []).append(tensor.detach().cpu().clone())

    def write(self, row: torch.Tensor) -> None:
        """The step is over: put the digests into its row of the log, (channels, 32)."""
        for channel, hasher in self._hashes.items():
            row[channel] = as_row(hasher.digest())


class MessageRecorder:
    """Notes what crosses the borders of one part of the model, in the `passing` of the step that is
    under way; nothing while that is None."""

    def __init__(self, runner: nn.Module, part: int, channels: Sequence[Channel]) -> None:
        numbers = {(channel.kind, channel.place): i for i, channel in enumerate(channels)}
        self._received = numbers.get((ACTIVATION, part - 1))
        self._sent = numbers.get((ACTIVATION, part))
        self._returned = numbers.get((GRADIENT, part + 1))
        self._passed = numbers.get((GRADIENT, part))
        self.passing: Passing | None = None
        self._micro = 0
        self._listening: dict[tuple[int, int], RemovableHandle] = {}
        runner.register_forward_hook(self._forward)

    def start(self, passing: Passing | None) -> None:
        """A step begins."""
        self.passing, self._micro = passing, 0

    def _forward(
        self, _: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor
    ) -> None:
        if self.passing is None:
            return
        if self._received is not None:
            self.passing.note(self._received, inputs[0])
        if self._sent is not None:
            self.passing.note(self._sent, output)
        if torch.is_grad_enabled():
            self._listen(self._passed, inputs[0])
            self._listen(self._returned, output)
        self._micro += 1

    def _listen(self, channel: int | None, value: torch.Tensor) -> None:
        passing = self.passing
        if passing is None or channel is None or not value.requires_grad:
            return
        if before := self._listening.get((channel, self._micro)):
            before.remove()  # a pipeline receives the activations of every step in the same tensors
        hook = value.register_hook(lambda gradient: passing.note(channel, gradient))
        self._listening[channel, self._micro] = hook


def _feed(hasher: blake3, tensor: torch.Tensor) -> None:
    hasher.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    flat = tensor.detach().reshape(-1).cpu().contiguous()
    hasher.update(flat.view(torch.uint8).numpy().data)
