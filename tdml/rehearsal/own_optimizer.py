"""The stages' optimizers against one of all parameters: a node has its stage's alone."""

import torch

from tdml.common.seeds import seeded
from tdml.errors import SettingError
from tdml.rehearsal.chain import Batch, Chain
from tdml.rehearsal.unsplit import Unsplit

_STEP = 1e-3  # of the largest step of a parameter's numbers
_ROUNDING = 1e-6


def check_optimizer(unsplit: Unsplit, chain: Chain, batch: Batch, seed: int) -> None:
    """Compare the step of the stages' optimizers on a micro-batch with that of an optimizer of all
    parameters of the un-split model.

    Raises:
        SettingError: they differ.
    """
    chain.learn(*batch, seed)
    own = unsplit.update(chain.parameters(), chain.gradients(), seed)
    with seeded(seed):
        chain.update()
    found, start = chain.parameters(), unsplit.weights
    others = [name for name in found if not _is_same_step(start[name], own[name], found[name])]
    if not others:
        return
    name, once = others[0], own[others[0]].clone()
    chain.learn(*batch, seed)  # nothing is kept for this, which is rare: each is a model's memory
    again = unsplit.update(chain.parameters(), chain.gradients(), seed + 1)
    if _is_same_step(start[name], once, again[name]):  # else it draws
        raise SettingError(_differs(unsplit, name))


def _is_same_step(before: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> bool:
    if torch.equal(one, other):  # as nearly always, and sooner known
        return True
    steps = (one - before).abs()
    allowed = _STEP * float(steps.max()) if steps.numel() else 0.0
    return torch.allclose(one, other.detach(), _ROUNDING, allowed, equal_nan=True)


def _differs(unsplit: Unsplit, name: str) -> str:
    parameter = dict(unsplit.model.named_parameters())[name]
    if all(own is not parameter for own in unsplit.model.parameters()):
        return (
            f"model: its parameters() leaves out {name}, and nodes train all that is not frozen: "
            "requires_grad_(False) what is not to be trained"
        )
    return (
        f"train.optimizer={unsplit.train.optimizer['_target_']}: the step of {name} depends on "
        "which other parameters it has, or on their order, and a node has those of its stage "
        "alone: set topology.stages=1, or take an optimizer that steps every parameter by itself "
        "(for a norm of all gradients: train.clip_norm)"
    )
