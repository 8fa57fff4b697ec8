"""What a node saw cross its borders: one small sketch of every activation and every gradient.

An audit that finds a wrong state must tell the node that lied from those it misled, and so must a cross-check in which
a validator lied. The sketches let them: the first message that the same steps elsewhere do not confirm names its
sender.
"""

import hashlib

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

SUMS = 8
MEASURES = SUMS + 1  # of a sketch, that nearly equal messages nearly share; the rest is a digest
_DIGITS = 3
SKETCH = MEASURES + _DIGITS
NOT_TAKEN = -1.0  # in place of a norm: no message, however false, can make a node record it
RECEIVED, SENT, GRADIENT_RECEIVED, GRADIENT_SENT = range(4)
# Where gradients are clipped: the norms of a node's own, and, by the stage they came from, those of the others. They
# stand at the node's first part and micro-batch.
NORMS_SENT, NORMS_RECEIVED = 4, 5


def sketch(value: torch.Tensor, measured: bool = True) -> torch.Tensor:
    """Any tensor → (12,) float64: its norm, the sums over every eighth of its values, scaled to be of its size, and 144
    bits of a digest, since whoever knows how the sums are taken can change a message and leave them as they are.

    Without `measured`, zeros in place of norm and sums, which take most of the time: enough where all machines are of
    one kind, and see the very same messages.
    """
    message = value.detach().reshape(-1).cpu().contiguous()
    digest = hashlib.sha256(message.view(torch.uint8).numpy()).digest()
    digits = [float(int.from_bytes(digest[6 * i : 6 * i + 6], "big")) for i in range(_DIGITS)]
    if not measured:
        return torch.tensor([0.0] * MEASURES + digits, dtype=torch.float64)
    flat = message.double()
    padded = nn.functional.pad(flat, (0, -len(flat) % SUMS)).view(-1, SUMS)
    measures = torch.cat([flat.norm().view(1), padded.sum(dim=0) / max(len(padded), 1) ** 0.5])
    return torch.cat([measures, torch.tensor(digits, dtype=torch.float64)])


def empty(steps: int, parts: int, microbatches: int, told: int = 0) -> torch.Tensor:
    """Records of some steps before they are taken: (steps, parts, kinds, microbatches, 12) float64; there are 4 kinds
    of messages, and 5 + `told` where so many stages tell each other norms. A step that is taken is zero where nothing
    crosses a border."""
    kinds = NORMS_RECEIVED + told if told else NORMS_SENT
    return torch.full((steps, parts, kinds, microbatches, SKETCH), NOT_TAKEN, dtype=torch.float64)


class Recorder:
    """Listens at the borders of one part of the model; `into` is where a step's sketches go, (kinds, micro-batches,
    12)."""

    def __init__(self, runner: nn.Module, first: bool, last: bool) -> None:
        self._first, self._last = first, last
        self.into: torch.Tensor | None = None
        self._seen, self._measured = 0, True
        self._listening: dict[tuple[int, int], RemovableHandle] = {}
        runner.register_forward_hook(self._forward)

    def start(self, into: torch.Tensor | None, measured: bool = True) -> None:
        """A step begins; None: nothing is recorded."""
        self.into, self._seen, self._measured = into, 0, measured
        if into is not None:
            into.zero_()

    def _forward(self, _: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if self.into is None:
            return
        micro, self._seen = self._seen, self._seen + 1
        if not self._first:
            self._put(RECEIVED, micro, inputs[0])
        if not self._last:
            self._put(SENT, micro, output)
        if torch.is_grad_enabled():
            self._await_gradients(micro, inputs[0], output)

    def _await_gradients(self, micro: int, received: torch.Tensor, sent: torch.Tensor) -> None:
        if not self._first:
            self._listen(received, GRADIENT_SENT, micro)
        if not self._last:
            self._listen(sent, GRADIENT_RECEIVED, micro)

    def _listen(self, value: torch.Tensor, kind: int, micro: int) -> None:
        into = self.into
        if before := self._listening.get((kind, micro)):
            before.remove()  # a pipeline receives the activations of every step in the same tensors
        self._listening[kind, micro] = value.register_hook(lambda gradient: self._put(kind, micro, gradient, into))

    def _put(self, kind: int, micro: int, value: torch.Tensor, into: torch.Tensor | None = None) -> None:
        target = self.into if into is None else into
        target[kind, micro] = sketch(value, self._measured)
