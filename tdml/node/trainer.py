"""One node's local steps, and its training state as one flat vector from which the steps can be
taken again."""

from collections.abc import Callable

import torch
from torch import nn

from tdml.models.layout import Layout, change
from tdml.node.clip import Clip
from tdml.node.inner import optimizers, set_rate
from tdml.node.state import StateLayout
from tdml.settings.schema import Train

_LARGE = 2**23  # half of what float32 holds exactly
# what an optimizer raises over a state that it cannot go on from
_OF_A_STATE = (
    ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError,
)  # fmt: skip


class Trainer:
    """The weights of a node's round, and the optimizer that moves them.

    Every step seeds the generators anew, so that what a model draws at random (dropout) is a
    function of the step: the state needs none of it. The state is (size,) float32, as `StateLayout`
    has it.
    """

    def __init__(
        self,
        layout: Layout,
        tensors: Callable[[], list[torch.Tensor]],
        train: Train,
        clip: Clip | None,
        keeps: bool,
    ) -> None:
        """
        Args:
            tensors: gives the node's parameters and buffers, in the layout's order.
            clip: of the gradients, if `train.clip_norm` asks for it.
            keeps: whether the optimizer goes on from round to round.
        """
        self._keeps = keeps
        self._layout, self._tensors, self._fresh = layout, tensors, optimizers(train)
        self.clip = clip
        held = tensors()
        self._form = StateLayout(layout, train, held[0].device if held else torch.device("cpu"))
        trained = held[: layout.parameter_tensors]
        self.parameters = [p for p in trained if isinstance(p, nn.Parameter)]
        assert len(self.parameters) == len(trained)
        self._optimizer: torch.optim.Optimizer | None = None
        self._resumed = self._large = False

    def begin(self, weights: torch.Tensor) -> None:
        """Start from global weights (d,) float32, with a fresh optimizer."""
        self._put_in(weights)
        self._resumed, self._large = False, self._holds_large_numbers()

    def go_on(self, weights: torch.Tensor, inner: torch.Tensor | None) -> None:
        """Start from global weights, with an optimizer that goes on from `inner`: None is fresh."""
        if inner is None:
            self.begin(weights)
        else:
            self.resume(torch.cat([weights, inner]))

    def resume(self, state: torch.Tensor) -> None:
        """Start from a state, which somebody may have made up: where its optimizer cannot go on
        from there, all parameters are NaN from then on. Whoever takes the steps finds that, and can
        tell the others, as a node that fails cannot."""
        assert state.shape == (self._form.size,)
        self._put_in(state[: self._layout.size])
        self._form.inner.write(state[self._layout.size :], self._optimizer, self.parameters)
        self._resumed, self._large = True, self._holds_large_numbers()

    def _put_in(self, weights: torch.Tensor) -> None:
        self._layout.scatter(weights, self._tensors())
        self._optimizer = self._fresh(self.parameters)

    def clear(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def update(self, lr: float) -> None:
        """The optimizer's step. What follows depends on the state alone: whoever resumes from there
        must go on alike, also where float32 does not hold a whole number."""
        if self._optimizer is not None:
            self._step(self._optimizer, lr)
        if self._large:
            self.resume(self.state())

    def _step(self, optimizer: torch.optim.Optimizer, lr: float) -> None:
        set_rate(optimizer, lr)
        try:
            optimizer.step()
        except Exception as error:
            if not self._resumed or not self._is_of_the_state(error):
                raise
            self._lose_all()

    def _is_of_the_state(self, error: Exception) -> bool:
        """Whether everybody would have failed: memory may be short here, and a GPU fail alone."""
        on_host = self.parameters[0].device.type == "cpu"
        computed = type(error) is RuntimeError and on_host and "memory" not in str(error)
        return computed or isinstance(error, _OF_A_STATE)

    @torch.no_grad()
    def _lose_all(self) -> None:
        """Nothing is kept of what cannot be read off the state."""
        self._optimizer = self._fresh(self.parameters)
        for parameter in self.parameters:
            parameter.fill_(float("nan"))

    def _holds_large_numbers(self) -> bool:
        """Whether a whole number may grow beyond what float32 holds within a round."""
        kept = self._optimizer.state.values() if self._optimizer is not None else ()
        values = [*self._tensors(), *(value for slots in kept for value in slots.values())]
        tensors = [torch.as_tensor(v) for v in values if isinstance(v, int | torch.Tensor)]
        whole = [t for t in tensors if not t.is_floating_point() and not t.is_complex()]
        return any(bool((t.double().abs() > _LARGE).any()) for t in whole)

    def weights(self) -> torch.Tensor:
        """Parameters and buffers: (d,) float32 on the host."""
        return self._layout.flatten(self._tensors())

    def outcome(self, start: torch.Tensor) -> list[torch.Tensor]:
        """What a round has led to that began with the weights `start`: the update (d,) float32, and
        where it is kept what the optimizer is left with."""
        if not self._keeps or not self._form.inner.size:
            return [change(start, self.weights())]
        weights, inner = self.state().split([self._layout.size, self._form.inner.size])
        return [change(start, weights), inner.clone()]  # for it is kept, and all else is not

    def state(self) -> torch.Tensor:
        """The state after the steps so far: (size,) float32 on the host."""
        state = torch.empty(self._form.size)
        weights, inner = state[: self._layout.size], state[self._layout.size :]
        self._layout.flatten(self._tensors(), weights)
        self._form.inner.read(self._optimizer, self.parameters, inner)
        return state
