"""A rehearsal of a user's own model in two stages."""

from dataclasses import replace

import torch
from torch import nn
from torch.utils.data import TensorDataset

from tdml import config as settings
from tdml.data.source import Source
from tdml.models.plan import make_plan
from tdml.models.whole import initial_model
from tdml.rehearsal.rehearse import rehearse

CONFIG = settings.load(["topology.stages=2"])
INPUTS, MORE = torch.randn(8, 6, generator=torch.Generator().manual_seed(0)).split(4)
SAMPLES = TensorDataset(torch.cat([INPUTS, MORE]), torch.tensor([0, 1, 2, 0, 1, 2, 2, 1]))


def model(between=None, dtype="float32", frozen=0):
    """A user's own model with two layers, and whatever is to lie between them."""
    middle = between() if between else nn.Identity()
    net = nn.Sequential(
        nn.Linear(6, 5), nn.BatchNorm1d(5), middle, nn.Dropout(0.5), nn.Linear(5, 3)
    )
    for block in net[:frozen]:
        block.requires_grad_(False)
    return net.to(getattr(torch, dtype))


def through(*args, **chosen):
    """Rehearse with it in two stages; what cannot be repeated."""
    return rehearsed(*args, **chosen).problem


def rehearsed(
    cuts=(1,),
    samples=SAMPLES,
    target=f"{__name__}.model",
    initial=None,
    task=None,
    microbatches=2,
    optimizer=None,
    clip_norm=None,
    stages=2,
    repeatable="require",
    checkpointing=False,
    **arguments,
):
    """All that a rehearsal tells."""
    chosen = {"_target_": target, **arguments}
    topology = replace(CONFIG.topology, stages=stages, cuts=list(cuts) if stages > 1 else [])
    train, trust = (
        replace(CONFIG.train, clip_norm=clip_norm, activation_checkpointing=checkpointing),
        replace(CONFIG.trust, repeatable=repeatable),
    )
    if optimizer is not None:
        train = replace(train, optimizer={"_target_": optimizer})
    config = replace(CONFIG, model=chosen, topology=topology, train=train, trust=trust)
    if task is not None:
        config = replace(config, task={"_target_": task})
    initial = initial or initial_model(chosen, config.seed)
    plan = replace(make_plan(config, initial, INPUTS), microbatches=microbatches)
    return rehearse(config, plan, initial, Source(samples, samples, seed=0), range(4))
