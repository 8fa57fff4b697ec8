"""A job is made ready: its data, model, pipelines and shares, with every check that needs them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import torch

from tdml.attacks.base import Victim, check_attack, held_stages, honest_stages
from tdml.data import source as data
from tdml.data.faults import faults_of, in_words
from tdml.data.order import steps_per_round
from tdml.data.partition import partition
from tdml.data.shares import given_shares
from tdml.errors import SettingError, refusing
from tdml.models import whole
from tdml.models.layout import Layout
from tdml.models.plan import Plan, frozen_names, layouts, make_plan
from tdml.models.tokens import check_direction, check_tokens
from tdml.node.memory import needs
from tdml.node.messages import channels_of
from tdml.node.schedule import Schedule
from tdml.node.state import StateLayout
from tdml.rehearsal.rehearse import rehearse
from tdml.round.checkpoint import Checkpoint
from tdml.round.job import Job, how_shared
from tdml.round.windows import windows_that_fit
from tdml.settings.schema import Config
from tdml.tasks import Language
from tdml.tasks.measures import look_at


def prepare(config: Config, source: data.Source, checkpoint: Checkpoint | None) -> Job:
    """Make a job ready. A resumed job keeps the cuts of its checkpoint, which its outer optimizer
    is bound to.

    Raises:
        SettingError: the settings do not fit the data or the model.
    """
    if checkpoint is not None:
        config = replace(config, topology=replace(config.topology, cuts=checkpoint.cuts))
    shares = _shares(config, source)
    _ = source.test_strata  # what is wrong with a sample is found before anything begins
    model = whole.initial_model(config.model, config.seed)
    if checkpoint is not None:
        _check_same_model(whole.tensors_of(model), checkpoint.model)
    inputs, targets = _first_samples(config, source)
    predicted = targets if isinstance(source.task, Language) else None
    check_tokens(model, source.train, inputs, predicted)
    plan = make_plan(config, model, inputs, lambda shape: _check_output(source, shape))
    check_direction(source.task, model, inputs)
    stage_layouts = layouts(plan, model, config.topology.stages)
    states = [StateLayout(layout, config.train) for layout in stage_layouts]
    measures = look_at(source.task, plan.borders[-1].shape, targets)
    # not as a folder has it now, which may be another than the run began with
    kept = whole.tensors_of(model) if checkpoint is None else checkpoint.model
    frozen = [
        [kept[name].detach().to(torch.float32, copy=True) for name in names]
        for names in frozen_names(plan, model, config.topology.stages)
    ]
    rehearsed = rehearse(config, plan, model, source, range(len(inputs)))
    if rehearsed.problem and config.trust.repeatable == "require":
        raise SettingError(rehearsed.problem)
    if config.attack.get("_target_"):
        _check_attack(config, source, plan, stage_layouts, inputs)
    steps = [
        steps_per_round(len(share), config.train.effective_batch_size, config.sync.local_steps)
        for share in shares
    ]
    Schedule(config.train, config.rounds).check(max(steps))
    windows = _windows(config, states)
    return Job(
        config=config,
        source=source,
        model=model,
        plan=plan,
        layouts=stage_layouts,
        frozen=frozen,
        states=states,
        shares=shares,
        steps=steps,
        measures=measures,
        iid=how_shared(config) == "iid",
        windows=windows,
        needs=needs(config, plan, model, inputs, states, windows),
        channels=channels_of(config, plan, model),
        problem=rehearsed.problem,
        uncompared=rehearsed.uncompared,
    )


def _check_same_model(
    tensors: Mapping[str, torch.Tensor], before: Mapping[str, torch.Tensor]
) -> None:
    """Whether a run's weights fit what its settings make by now: users' code and files change."""
    shapes, former = ({n: tuple(t.shape) for n, t in each.items()} for each in (tensors, before))
    for name in [*shapes, *former]:
        if shapes.get(name) != former.get(name):
            raise SettingError(
                f"model: {name} is {shapes.get(name)}, and {former.get(name)} in the run to "
                "resume: put back the code and the files that it was begun with, or start a new run"
            )


def _check_attack(
    config: Config,
    source: data.Source,
    plan: Plan,
    stage_layouts: Sequence[Layout],
    inputs: torch.Tensor,
) -> None:
    """Whether the attack finds what it attacks."""
    victim = Victim(
        inputs,
        labels=None if source.strata is None else max(source.strata) + 1,
        outputs=plan.borders[-1].shape[-1],
        names=[layout.names for layout in stage_layouts],
        held=held_stages(config.attack, config.topology.stages),
        honest=honest_stages(config.attack, config.topology),
        buffered=frozenset(
            s for s, each in enumerate(stage_layouts) if each.size > each.parameters
        ),
    )
    check_attack(config.attack, victim)


def _windows(config: Config, states: Sequence[StateLayout]) -> int:
    """As many as are set and as the memory for kept states allows; none where nobody is audited,
    or can be, for want of the data."""
    trust = config.trust
    if not config.wants_audits:
        return 0
    largest = max(state.size for state in states)
    return windows_that_fit(
        trust.audit_windows, largest * torch.float32.itemsize, trust.audit_memory * 2**20
    )


def _shares(config: Config, source: data.Source) -> list[np.ndarray]:
    """The training samples of each replica."""
    kind, replicas = how_shared(config), config.topology.most
    least, strata = config.train.effective_batch_size, source.strata
    if kind == "given":
        return given_shares(config.data["shares"], source.train, replicas, least, config.seed)
    if kind == "own":  # until they say what they hold
        return [np.arange(len(source.train)) for _ in range(replicas)]
    if kind == "dirichlet" and strata is None:
        raise SettingError(
            "data.partition=dirichlet: the task has no classes to deal out: take data.partition=iid"
        )
    alpha = config.data.get("alpha", 1.0)
    return partition(kind, strata, len(source.train), replicas, least, config.seed, alpha)


def _check_output(source: data.Source, shape: torch.Size) -> None:
    """What the task says of what the model returns, if it says anything."""
    if check := getattr(source.task, "check_output", None):
        strata = source.strata
        held_out = chain(source.test_strata or [], source.validation_strata or [])
        check(shape, None if strata is None else [*strata, *held_out])


def _first_samples(config: Config, source: data.Source) -> tuple[torch.Tensor, torch.Tensor]:
    """A micro-batch of training samples, whose form all others must have."""
    size = config.train.effective_batch_size // config.microbatches
    with refusing("data: the first samples cannot be read"):
        inputs, targets = source.training_batch(range(size), seed=0)
        source.held_out_batch("test", [0])
        source.held_out_batch("validation", [0])
    if not inputs.float().isfinite().all():  # nothing can be tried on them
        fault = in_words(source, faults_of(source, torch.arange(size).view(1, -1), [0]))
        raise SettingError(f"data: {fault}: mend it in the data, or leave it out")
    return inputs, targets
