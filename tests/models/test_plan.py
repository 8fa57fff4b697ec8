from dataclasses import replace

import pytest
import torch
from torch import nn

from tdml import config as settings
from tdml.errors import SettingError
from tdml.models.plan import layouts, make_plan
from tdml.models.split import Border
from tdml.models.whole import initial_model

CONFIG = settings.load(["model=cnn", "model.width=4"])  # four blocks
SAMPLE = Border(torch.Size([4, 3, 16, 16]), torch.float32)


def tied():
    """A user's own model, whose two layers share a weight."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 10))
    model[2].weight = model[1].weight
    return model


def plan_for(classes=10, **topology):
    config = replace(CONFIG, topology=replace(CONFIG.topology, **topology))
    return make_plan(config, initial_model(config.model, 0), SAMPLE, classes)


@pytest.mark.parametrize(("stages", "schedule", "parts"), [(1, "1f1b", 1), (3, "gpipe", 3), (2, "interleaved_1f1b", 4)])
def test_as_many_parts_as_the_schedule_needs(stages, schedule, parts):
    plan = plan_for(stages=stages, schedule=schedule)
    assert plan.parts == parts
    assert [list(plan.parts_of(stage, stages)) for stage in range(stages)] == [
        list(range(stage, parts, stages)) for stage in range(stages)
    ]
    assert len(layouts(plan, CONFIG.model, stages)) == stages


def test_borders_are_those_at_the_cuts():
    plan = plan_for(stages=3, cuts=[1, 3])
    assert plan.cuts == (1, 3)
    assert [tuple(border.shape) for border in plan.borders] == [(4, 3, 16, 16), (4, 4, 8, 8), (4, 16, 2, 2), (4, 10)]


@pytest.mark.parametrize("cost", ["counted", "measured"])
def test_blocks_are_weighed_either_way(cost):
    (cut,) = plan_for(cost=cost).cuts
    assert 1 <= cut <= 3


@pytest.mark.parametrize(
    ("topology", "classes", "message"),
    [
        ({"stages": 5}, 10, "topology.stages asks for 5 parts"),
        ({"cuts": [4]}, 10, "topology.cuts=[4]"),
        ({}, 11, "model.num_classes: the model returns (4, 10), but the data has 11 classes"),
    ],
)
def test_what_does_not_fit_is_refused(topology, classes, message):
    with pytest.raises(SettingError) as caught:
        plan_for(classes, **topology)
    assert message in str(caught.value)


def test_a_cut_through_tied_weights_is_refused():
    model, sample = {"_target_": f"{__name__}.tied"}, Border(torch.Size([4, 3, 2, 2]), torch.float32)
    config = replace(CONFIG, model=model, topology=replace(CONFIG.topology, cuts=[2]))
    with pytest.raises(SettingError, match=r"topology\.cuts: 1\.weight is used on both sides of a cut"):
        make_plan(config, initial_model(model, 0), sample, classes=10)
    apart = replace(config, topology=replace(config.topology, cuts=[3]))
    assert make_plan(apart, initial_model(model, 0), sample, classes=10).cuts == (3,)
