"""What is rehearsed, and what is said of a job that cannot be repeated."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from tdml.common.digest import digest
from tdml.common.seeds import derive
from tdml.data.source import Source
from tdml.errors import SettingError
from tdml.models import whole
from tdml.models.plan import Plan
from tdml.node.devices import check_precision, make_repeatable
from tdml.rehearsal.attributes import Snapshot, changed, snapshot
from tdml.rehearsal.chain import Batch, Chain
from tdml.rehearsal.footprint import Footprint, Place, first_difference, of_outputs
from tdml.rehearsal.own_forward import check_own_forward
from tdml.rehearsal.own_optimizer import check_optimizer
from tdml.rehearsal.unsplit import Unsplit
from tdml.settings.schema import Config

_FEW = 4  # samples, which make as good a comparison as all
_ADVICE = (
    "it must follow from weights, seeds and samples alone. Keep state in buffers "
    "(register_buffer), draw from the global generators of torch, numpy or Python, or give up "
    "proofs with trust.repeatable=warn (docs/your-model.md)"
)


@dataclass(frozen=True)
class Rehearsed:
    """Why the job cannot be repeated, and why its model could not be compared with its blocks, each
    in one line; "" if it can."""

    problem: str
    uncompared: str = ""


def rehearse(
    config: Config, plan: Plan, model: nn.Module, source: Source, samples: Sequence[int]
) -> Rehearsed:
    """Take a training step and an evaluation pass on the first micro-batch, each of them again, and
    on a fresh copy; a step of two micro-batches in two orders; and a step of the un-split model.

    Args:
        model: the un-split model with its initial weights, which stay as they are.
        samples: of the first micro-batch, by index.

    Raises:
        SettingError: the job cannot work: a block fails, the output is not finite, evaluation gives
            another form, or the un-split model would be trained to something else.
    """
    seed = derive(config.seed, "rehearsal")
    inputs, targets = source.training_batch(samples, seed)
    if problem := _read_again(source, samples, seed, inputs, targets):
        return Rehearsed(problem)
    weights = {name: t.detach().clone() for name, t in whole.tensors_of(model).items()}
    chain, fresh = (Chain(config, plan, weights, device_for(config)) for _ in range(2))
    following = [(i + len(samples)) % len(source.train) for i in samples]
    batches = [(inputs, targets), source.training_batch(following, seed)]
    if config.train.activation_checkpointing:
        plain = replace(config, train=replace(config.train, activation_checkpointing=False))
        _check_twice(chain, Chain(plain, plan, weights, chain.device), batches[:1], seed)
    problem = _cannot_be_repeated(chain, fresh, plan, batches, seed)
    if problem and config.trust.repeatable == "require":
        return Rehearsed(problem)
    del chain  # a model and its gradients, which what follows needs the memory of
    # the same sums in the same order, on the host
    exact = replace(config, train=replace(config.train, precision="fp32", channels_last=False))
    if exact != config or fresh.device.type != "cpu":
        fresh = Chain(exact, plan, weights, torch.device("cpu"))
    unsplit = Unsplit(exact, model, weights)
    try:
        uncompared = _compare(unsplit, fresh, (inputs[:_FEW], targets[:_FEW]), seed)
    except SettingError:  # perhaps of so few
        uncompared = _compare(unsplit, fresh, (inputs, targets), seed)
    finally:
        unsplit.restore()
    return Rehearsed(problem, uncompared)


def _cannot_be_repeated(
    chain: Chain, fresh: Chain, plan: Plan, batches: Sequence[Batch], seed: int
) -> str:
    """Why, in one line; "" if it can. Raises as `rehearse`."""
    first, (inputs, others) = batches[:1], (inputs for inputs, _ in batches)
    step = chain.step(first, seed)
    kept = snapshot(chain.blocks)
    repeated = chain.step(first, seed)
    if problem := _keeps_state(chain, kept) or _differs(
        chain, step, repeated, "a training step, taken again,"
    ):
        return problem

    values = chain.evaluate(inputs, seed)
    _check_outputs(values, plan)
    chain.evaluate(others, seed)
    apart = chain.step(first, seed, in_turn=False)
    if problem := _keeps_state(chain, kept) or _draws_later(chain, step, apart):
        return problem

    if problem := _differs(fresh, step, fresh.step(first, seed), "a training step of a fresh copy"):
        return problem
    one, other = of_outputs(values), of_outputs(fresh.evaluate(inputs, seed))
    if problem := _differs(fresh, one, other, "an evaluation by a fresh copy"):
        return problem
    return _hangs_on_order(fresh, batches[: plan.microbatches], seed)


def _check_twice(twice: Chain, once: Chain, batches: Sequence[Batch], seed: int) -> None:
    """Whether blocks that are computed again on the way back do what they do if they are not."""
    step = once.step(batches, seed)
    place = first_difference(step, twice.step(batches, seed))
    if place and step == once.step(batches, seed):  # else they cannot be repeated anyway
        raise SettingError(
            "train.activation_checkpointing=true computes every block twice, which changes the "
            f"{_at(twice, place)}: set it false, or let blocks draw from torch's generator alone "
            "and change no buffers"
        )


def _compare(unsplit: Unsplit, chain: Chain, batch: Batch, seed: int) -> str:
    """With the un-split model. Returns and raises as `check_own_forward`, and as
    `check_optimizer`."""
    uncompared = check_own_forward(unsplit, chain, batch, seed)
    check_optimizer(unsplit, chain, batch, seed)
    return uncompared


def device_for(config: Config) -> torch.device:
    """Where the job computes, if this machine can.

    Raises:
        SettingError: it cannot compute so.
    """
    make_repeatable()  # a processor's threads, too, may add up in another order every time
    if config.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda")
    check_precision(config.train.precision, device)
    return device


def _read_again(
    source: Source, samples: Sequence[int], seed: int, inputs: torch.Tensor, targets: torch.Tensor
) -> str:
    """Whether a batch is another when it is read again, after others."""
    source.training_batch(samples[:1], seed + 1)
    batches = zip((inputs, targets), source.training_batch(samples, seed), strict=True)
    for sample, *each in zip(samples, *(half for pair in batches for half in pair), strict=True):
        read = [digest(value) for value in each]
        # not torch.equal, for which what is missing (nan) is another when it is read again
        if read[::2] != read[1::2]:
            return (
                f"data: training sample {sample}, read again with the same seeds, has other "
                f"values: {_ADVICE}"
            )
    return ""


def _check_outputs(values: Sequence[torch.Tensor], plan: Plan) -> None:
    """What crosses a border in evaluation, of what the blocks return, must be what crosses it in
    training: pipelines have static shapes."""
    outputs = [values[cut - 1] for cut in (*plan.cuts, len(values))]
    for part, (output, border) in enumerate(zip(outputs, plan.borders[1:], strict=True)):
        where = (
            f"what crosses the cut before block {plan.cuts[part]}"
            if part < len(plan.cuts)
            else "its output"
        )
        if (output.shape, output.dtype) != (border.shape, border.dtype):
            raise SettingError(
                f"model: in eval() {where} is {tuple(output.shape)} of {output.dtype}, in training "
                f"{tuple(border.shape)} of {border.dtype}: both must be alike"
            )


def _draws_later(chain: Chain, step: Footprint, apart: Footprint) -> str:
    """Whether a step hangs on what is drawn once it has gone forward: `apart` has other seeds
    there."""
    place = first_difference(apart, step)
    if place is None:
        return ""
    return (
        "model: what backward passes, hooks, the task's losses() or the optimizer draw at random "
        f"changes the {_at(chain, place)}, and whoever repeats a step draws other numbers there: "
        "draw in forward() or in the dataset, or give up proofs with trust.repeatable=warn "
        "(docs/your-model.md)"
    )


def _hangs_on_order(chain: Chain, batches: Sequence[Batch], seed: int) -> str:
    """Whether a step of these micro-batches hangs on when the next goes forward."""
    one, other = (chain.step(batches, seed, in_turn) for in_turn in (True, False))
    if place := first_difference(one, other):
        return (
            f"model: the {_at(chain, place)} hangs on whether a micro-batch comes back before the "
            "next goes forward: backward passes and hooks may neither read nor change what another "
            "micro-batch changes (as under torch.utils.checkpoint BatchNorm does). Set "
            "topology.microbatches=1 and train.accumulate=1, or give up proofs with "
            "trust.repeatable=warn (docs/your-model.md)"
        )
    return ""


def _at(chain: Chain, place: Place) -> str:
    return f"{place.what} of block {place.block} ({type(chain.blocks[place.block]).__name__})"


def _keeps_state(chain: Chain, kept: Snapshot) -> str:
    attribute = changed(kept, snapshot(chain.blocks))
    if attribute is None:
        return ""
    block, name = attribute
    where = f"block {block} ({type(chain.blocks[block]).__name__})"
    return (
        f"model: {where} keeps {name} outside of parameters and buffers, and a pass changes "
        f"it: {_ADVICE}"
    )


def _differs(chain: Chain, one: Footprint, other: Footprint, which: str) -> str:
    place = first_difference(one, other)
    if place is None:
        return ""
    return f"model: {which} differs in the {_at(chain, place)}: {_ADVICE}"
