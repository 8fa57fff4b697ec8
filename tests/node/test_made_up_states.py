"""States that somebody may have made up, and what follows from them."""

import pytest
import torch

from tests.node.test_trainer import MODELS, loop_of, take, trained_by


class Particular(torch.optim.Optimizer):
    """Fails in its fourth step, or in one that comes too soon."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for parameter in self.param_groups[0]["params"]:
            kept = self.state[parameter]
            kept["steps"] = kept.get("steps", 0) + 1
            if not 0 < kept["steps"] < 4:
                raise ValueError(kept["steps"])
            parameter.sub_(parameter.grad)


class Lacks(Particular):
    """Memory, for its fourth step."""

    @torch.no_grad()
    def step(self):
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter]["steps"] = self.state[parameter].get("steps", 0) + 1
            if self.state[parameter]["steps"] > 3:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")


def test_from_a_state_that_no_optimizer_goes_on_from_all_parameters_are_nan():
    """Whoever takes steps from there finds the same, and takes them all. In training it is an
    error."""
    loop, initial = loop_of(MODELS["batch norm"], trained_by(f"{__name__}.Particular"))
    trainer, ends = loop.trainer, []
    trainer.begin(initial)
    take(loop, range(3))
    with pytest.raises(ValueError):
        take(loop, [3])
    trainer.begin(initial)
    take(loop, range(1))
    made_up = trainer.state()
    made_up[trainer._form.size - len(trainer.parameters) :] = -1  # the counts of steps
    for _ in range(2):
        trainer.resume(made_up)
        take(loop, range(3))
        ends.append(trainer.state())
    assert torch.equal(ends[0].nan_to_num(7), ends[1].nan_to_num(7))
    trainer.resume(made_up)
    for step in range(3):  # each from what the one before it has led to
        trainer.resume(trainer.state())
        take(loop, [step])
    assert torch.equal(ends[0].nan_to_num(7), trainer.state().nan_to_num(7))
    assert trainer.weights()[: loop.layout.parameters].isnan().all()


@pytest.mark.parametrize("count", [2**25, -(2**25) - 8])
def test_beyond_what_float32_holds_every_step_goes_on_from_the_state_before_it(count):
    """Whoever takes them all, and whoever begins at one of them, must find the same."""
    loop, initial = loop_of(MODELS["batch norm"], trained_by("sgd"))
    trainer, layout = loop.trainer, loop.layout
    trainer.begin(initial)
    take(loop, range(1))
    made_up = trainer.state()
    seen = made_up[layout.size - 1 : layout.size]
    assert seen == trainer._tensors()[-1] > 0, "the batches that its norm has seen"
    seen.fill_(count)
    trainer.resume(made_up)
    take(loop, range(3))
    end = trainer.state()
    trainer.resume(made_up)
    for step in range(3):
        trainer.resume(trainer.state())
        take(loop, [step])
    assert torch.equal(end, trainer.state())


def test_lack_of_memory_says_nothing_of_the_state():
    """Who repeats steps would be convicted of what it lacks."""
    loop, initial = loop_of(MODELS["batch norm"], trained_by(f"{__name__}.Lacks"))
    loop.trainer.begin(initial)
    take(loop, range(3))
    loop.trainer.resume(loop.trainer.state())
    with pytest.raises(RuntimeError, match="memory"):
        take(loop, [3])
