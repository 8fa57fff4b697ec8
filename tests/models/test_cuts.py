"""Where a model may be cut, by whole plans."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tdml import config as settings
from tdml.errors import SettingError
from tdml.models.plan import make_plan

CONFIG = settings.load([])
INPUTS = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))


# Users' own models, of blocks that cost the same


def tied():
    """Two layers in a row share a weight."""
    model = nn.Sequential(*(nn.Linear(6, 6) for _ in range(4)))
    model[1].weight = model[0].weight
    return model


def tied_at_the_ends():
    model = nn.Sequential(*(nn.Linear(6, 6) for _ in range(4)))
    model[3].weight = model[0].weight
    return model


def tied_in_three():
    model = tied_at_the_ends()
    model[1].weight = model[0].weight
    return model


class Turn(nn.Linear):
    """Turns by a table; `counts` in it."""

    def __init__(self, table, counts):
        super().__init__(6, 6)
        self.counts = counts
        self.register_buffer("table", table, persistent=False)

    def forward(self, value):
        if self.counts:
            self.table += 1
        return super().forward(value) * self.table


def with_table(counts):
    """The first and the third block use the same table."""
    table = torch.arange(6.0)
    return nn.Sequential(Turn(table, counts), nn.Linear(6, 6), Turn(table, counts), nn.Linear(6, 6))


def in_place():
    return nn.Sequential(
        nn.Linear(6, 6), nn.ReLU(inplace=True), nn.Linear(6, 6), nn.ReLU(inplace=True)
    )


def nothing_to_train_first():
    return nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 6))


class Whole(nn.Module):
    """As in timm: `blocks` is one of its modules."""

    def __init__(self):
        super().__init__()
        self.embed, self.blocks = nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 6), nn.ReLU())

    def forward(self, value):
        return self.blocks(self.embed(value))


class Rounds(nn.Module):
    def forward(self, value):
        return value.long()


def whole_numbers_between():
    return nn.Sequential(nn.ReLU(), Rounds(), nn.Embedding(9, 6), nn.Flatten(), nn.Linear(36, 6))


def plan(model, parts, cuts=None, inputs=INPUTS):
    topology = replace(CONFIG.topology, stages=parts, cuts=cuts)
    return make_plan(replace(CONFIG, topology=topology), model, inputs)


@pytest.mark.parametrize(
    ("model", "parts", "cuts"),
    [
        (tied(), 3, (2, 3)),
        (tied(), 2, (2,)),
        (with_table(counts=False), 4, (1, 2, 3)),
        (with_table(counts=True), 2, (3,)),
        (in_place(), 4, (1, 2, 3)),
        (nothing_to_train_first(), 2, (3,)),
        (whole_numbers_between(), 2, (4,)),
        (tied_at_the_ends(), 1, ()),
        (tied_at_the_ends(), 4, (1, 2, 3)),
        (tied_in_three(), 1, ()),
        (Whole(), 1, ()),
        (nn.Linear(6, 6), 1, ()),
    ],
    ids=[
        "tied",
        "tied, two parts",
        "constant table",
        "changing table",
        "in place",
        "nothing to train first",
        "whole numbers",
        "tied at the ends, one part",
        "tied at the ends",
        "tied in three, one part",
        "no blocks",
        "a layer",
    ],
)
def test_cuts_are_chosen_where_cuts_can_be(model, parts, cuts):
    assert plan(model, parts).cuts == cuts


@pytest.mark.parametrize(
    ("model", "cuts", "message"),
    [
        (
            tied(),
            [1],
            r"topology\.cuts=\[1\]: 0\.weight is used on both sides of a cut: cuts can be 2, 3",
        ),
        (
            tied_in_three(),
            [2],
            r"topology\.cuts=\[2\]: 0\.weight is used .*: cuts can be nowhere",
        ),
        (
            with_table(counts=True),
            [1],
            r"topology\.cuts=\[1\]: 0\.table is used on both sides .*: cuts can be 3",
        ),
        (
            nothing_to_train_first(),
            [1],
            r"topology\.cuts=\[1\]: nothing before block 1 can be trained.*: .* be 3",
        ),
        (
            whole_numbers_between(),
            [2],
            r"topology\.cuts=\[2\]: block 1 returns torch.int64, .* cuts can be 3, 4",
        ),
        (in_place(), [4], r"topology\.cuts=\[4\]: the model has 4 blocks: cuts can be "),
    ],
)
def test_a_cut_where_none_can_be_is_refused(model, cuts, message):
    with pytest.raises(SettingError, match=message):
        plan(model, len(cuts) + 1, cuts)


@pytest.mark.parametrize(
    ("model", "parts", "message"),
    [
        (
            tied(),
            5,
            (
                "topology.stages asks for 5 parts .* into 3 at most: it has 4 blocks, .* Lower topology.stages, or "
                "take a deeper"
            ),
        ),
        (
            tied(),
            4,
            (
                "topology.stages asks for 4 parts .* into 3 at most: .* block 1 it cannot be cut, "
                "for 0.weight is"
            ),
        ),
        (tied_in_three(), 2, "asks for 2 parts .* into 1 at most"),
        (
            Whole(),
            2,
            r"model: Whole is no nn.Sequential and has no method blocks\(\) .* \(its `blocks` is no method\)",
        ),
        (
            nn.Linear(6, 6),
            2,
            r"model: Linear is no nn.Sequential and has no method blocks\(\) that lists its parts:",
        ),
    ],
)
def test_more_parts_than_the_model_can_be_cut_into(model, parts, message):
    with pytest.raises(SettingError, match=message):
        plan(model, parts)


def test_a_cut_can_be_given_before_a_block_that_works_in_place():
    assert plan(in_place(), 2, [1]).cuts == (1,)
