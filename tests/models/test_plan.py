from dataclasses import replace

import pytest
import torch

from tdml import config as settings
from tdml.errors import SettingError
from tdml.models.plan import layouts, make_plan
from tdml.models.whole import initial_model
from tdml.tasks import Classification

CONFIG = settings.load(["model=cnn", "model.width=4"])  # four blocks
INPUTS = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def plan_for(classes=10, **topology):
    config = replace(CONFIG, topology=replace(CONFIG.topology, **topology))
    return make_plan(
        config,
        initial_model(config.model, 0),
        INPUTS,
        lambda shape: Classification().check_output(shape, [classes - 1]),
    )


@pytest.mark.parametrize(
    ("stages", "schedule", "parts"), [(1, "1f1b", 1), (3, "gpipe", 3), (2, "interleaved_1f1b", 4)]
)
def test_as_many_parts_as_the_schedule_needs(stages, schedule, parts):
    plan = plan_for(stages=stages, schedule=schedule)
    assert plan.parts == parts
    assert [list(plan.parts_of(stage, stages)) for stage in range(stages)] == [
        list(range(stage, parts, stages)) for stage in range(stages)
    ]
    assert len(layouts(plan, initial_model(CONFIG.model, 0), stages)) == stages


def test_borders_are_those_at_the_cuts():
    plan = plan_for(stages=3, cuts=[1, 3])
    assert plan.cuts == (1, 3)
    assert [tuple(border.shape) for border in plan.borders] == [
        (4, 3, 16, 16),
        (4, 4, 8, 8),
        (4, 16, 2, 2),
        (4, 10),
    ]


def test_what_crosses_a_cut_has_the_shape_that_it_had_first():
    plan = plan_for(stages=3, cuts=[1, 3])
    plan.check_crossing(0, torch.rand(4, 4, 8, 8))
    plan.check_crossing(2, torch.rand(2, 10))  # which stays where it is
    with pytest.raises(SettingError, match=r"before block 3 is \(4, 16, 1, 2\), and of the first"):
        plan.check_crossing(1, torch.rand(4, 16, 1, 2))


@pytest.mark.parametrize(
    ("topology", "classes", "message"),
    [
        ({"stages": 5}, 10, "topology.stages asks for 5 parts"),
        ({"cuts": [4]}, 10, "topology.cuts=[4]"),
        ({}, 11, "the model returns (4, 10), but the data has 11 classes"),
    ],
)
def test_what_does_not_fit_is_refused(topology, classes, message):
    with pytest.raises(SettingError) as caught:
        plan_for(classes, **topology)
    assert message in str(caught.value)
