"""The stages of a replica in one process: against the model in one piece, and each of them
alone."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch import nn

from tdml.errors import SettingError, origin
from tdml.node.lockstep import given_for, predict, train_step
from tdml.node.messages import ACTIVATION, GRADIENT, TIED, Passing, as_row, digest_of, of_stage
from tdml.node.pipeline import Pipeline
from tests.node.stages import (
    BATCH,
    CPU,
    FEATURES,
    MICRO,
    TRAIN,
    Cut,
    alone,
    batch,
    cut,
    in_one_piece,
    log_of,
)

STEPS = 3
SHAPES = {"1": (1, None), "2": (2, None), "4": (4, None), "2 x 4": (2, 8)}  # stages, and parts
TRAINS = {
    "sgd": TRAIN,
    "clipped": replace(TRAIN, clip_norm=0.05),
    "adamw": replace(TRAIN, optimizer={"_target_": "adamw"}, weight_decay=0.1, label_smoothing=0.1),
    "bf16": replace(TRAIN, precision="bf16"),
    "bf16, clipped": replace(TRAIN, precision="bf16", clip_norm=0.05),
}
TRAINS["checkpointed"] = replace(TRAINS["bf16, clipped"], activation_checkpointing=True)
MODELS = ("plain", "norms", "dropout", "idle")
CASES = [(m, s, "clipped") for m in MODELS for s in SHAPES]
CASES += [(m, "2", t) for m in MODELS for t in TRAINS if t not in ("clipped", "checkpointed")]
CASES += [(m, "2 x 4", "bf16, clipped") for m in ("norms", "dropout")]
CASES += [(m, "2 x 4", "checkpointed") for m in ("plain", "idle")]
TIED_CASES = [("tied", s, "clipped") for s in SHAPES]
TIED_CASES += [("tied", "2", t) for t in TRAINS if t != "clipped"]


@pytest.fixture(params=CASES + TIED_CASES, ids=", ".join)
def made(request) -> Cut:
    """A model, cut, at its initial weights."""
    model, shape, train = request.param
    made = cut(model, *SHAPES[shape], TRAINS[train])
    made.begin()
    return made


def test_what_a_step_draws_is_its_own_and_its_rate_is_counted_by_the_longest_round():
    """A validator takes it as the owner did, whatever else it has in hand."""
    stage = SimpleNamespace(
        first=False, last=False, index=0, schedule=SimpleNamespace(rate=lambda *place: place)
    )
    usual = {"seed": 1, "round": 2, "replica": 3, "stage": 0, "step": 4}

    def given(**other):
        is_ = SimpleNamespace(**usual | other)
        stage.index, order = is_.stage, SimpleNamespace(round=is_.round, longest=9, batches=())
        return given_for(stage, None, is_.seed, order, is_.replica, is_.step, None)

    assert given() == given()
    assert given().lr == (2, 4, 9)
    assert len({given().seed, *(given(**{name: 7}).seed for name in usual)}) == 1 + len(usual)


@pytest.mark.parametrize("stages", [1, 2])
def test_samples_count_what_their_weights_say(stages):
    made, counts = cut("plain", stages), torch.arange(BATCH) / 7.0
    made.begin()
    given = [replace(each, weights=counts) for each in made.given(0)]
    loss = train_step(made.stages, given, [None] * stages)
    inputs, labels = batch(0)
    each = nn.functional.cross_entropy(made.model(inputs), labels, reduction="none").detach()
    assert loss == pytest.approx(float((each * counts).sum() / counts.sum()))


def test_stages_train_bit_for_bit_as_the_model_in_one_piece(made):
    losses = [made.take(step)[0] for step in range(STEPS)]
    ties = made.stages[0].tie is not None  # whose gradients' sums have another order
    assert losses == (
        pytest.approx(in_one_piece(made, STEPS)) if ties else in_one_piece(made, STEPS)
    )
    for ours, expected, initial in zip(made.weights(), made.whole(), made.initial, strict=True):
        assert torch.allclose(ours, expected, rtol=1e-6, atol=1e-7 if ties else 0)
        assert ties or torch.equal(ours, expected)
        assert not len(ours) or not torch.equal(ours, initial)


def test_each_stage_alone_makes_the_very_same_of_what_it_received(made):
    """Every message of every channel, and the state that the step leads to; in whatever order the
    micro-batches go forward and back."""
    made.take(0)
    before, given = made.states(), made.given(1)
    _, passing = made.take(1, keeps=True)
    after = made.states()
    for (index, stage), one_by_one in itertools.product(enumerate(made.fresh()), (False, True)):
        parts = stage, given[index], before[index], passing[index].kept
        assert alone(*parts, None, one_by_one) == []
        assert torch.equal(stage.trainer.state(), after[index])
        for number, channel in enumerate(stage.channels):
            if channel.sender == index:
                found = alone(*parts, number, one_by_one)
                expected = passing[channel.receiver].kept[number]
                several = channel.kind in (ACTIVATION, GRADIENT)
                assert len(found) == len(expected) == (MICRO if several else 1)
                assert all(map(torch.equal, found, expected)), channel


def test_a_stage_alone_that_received_something_else_makes_something_else():
    made = cut("norms", 2)
    made.begin()
    given, before = made.given(0), made.states()
    _, passing = made.take(0, keeps=True)
    after, stage = made.states(), made.fresh()[1]
    received = {number: list(tensors) for number, tensors in passing[1].kept.items()}
    received[0][1] = received[0][1] + 1e-3
    alone(stage, given[1], before[1], received, None)
    assert not torch.equal(stage.trainer.state(), after[1])


def test_tied_weights_are_counted_once_and_kept_at_the_first_stage():
    made = cut("tied", 4, train=TRAINS["adamw"])
    names = [name for stage in made.stages for name in stage.layout.names]
    assert sorted(names) == sorted(name for name, _ in made.model.named_parameters())
    assert "0.weight" in made.stages[0].layout.names
    assert made.stages[3].trainer.parameters == []
    made.begin()
    assert made.states()[3].shape == (0,)


def test_both_ends_of_a_channel_log_the_same_and_nothing_else(made):
    _, passing = made.take(0, keeps=True)
    logs = log_of(made, passing)
    for index, log in enumerate(logs):
        own = of_stage(made.stages[index].channels, index)
        assert log.any(dim=2)[0].nonzero().view(-1).tolist() == own == sorted(passing[index].kept)
    for number, channel in enumerate(made.stages[0].channels):
        for end in (channel.sender, channel.receiver):
            assert torch.equal(
                logs[end][0, number], as_row(digest_of(passing[channel.sender].kept[number]))
            )


def test_noting_what_passes_changes_nothing(made):
    losses = [made.take(step)[0] for step in range(STEPS)]
    noted = made.weights()
    made.begin()
    again = [
        train_step(made.stages, made.given(step), [None] * len(made.stages))
        for step in range(STEPS)
    ]
    assert losses == again
    assert all(map(torch.equal, noted, made.weights()))


@pytest.mark.parametrize("size", [BATCH, 3])
@torch.no_grad()
def test_predictions_are_those_of_the_model_in_one_piece_and_are_logged(made, size):
    inputs = torch.randn(size, FEATURES, generator=torch.Generator().manual_seed(9))
    passing = [Passing() for _ in made.stages]
    found = []
    predict(made.stages, inputs, lambda output, places: found.append(output), passing)
    logits = torch.cat(found)
    model = made.model.eval()
    padded = torch.cat([inputs, inputs[-1:].expand(BATCH - size, FEATURES)])
    with torch.autocast("cpu", torch.bfloat16, enabled=made.config.train.precision == "bf16"):
        expected = torch.cat([model(part) for part in padded.chunk(MICRO)])
    assert torch.equal(logits, expected)
    logs = log_of(made, passing)
    for number, channel in enumerate(made.stages[0].channels):
        said = logs[channel.sender][0, number]
        assert torch.equal(said, logs[channel.receiver][0, number])
        assert bool(said.any()) == (channel.kind in (ACTIVATION, TIED))


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_what_draws_in_evaluation_draws_the_same_again_and_puts_the_generator_back(shape):
    made, found = cut("draws", *SHAPES[shape]), []
    made.begin()
    for _ in range(2):
        drawn = torch.get_rng_state()
        predict(made.stages, batch(0)[0], lambda o, _: found.append(o), [None] * len(made.stages))
        assert torch.equal(torch.get_rng_state(), drawn)
        torch.rand(1)  # whatever else was drawn meanwhile
    assert torch.equal(torch.cat(found[:MICRO]), torch.cat(found[MICRO:]))
    assert not torch.equal(*[model(batch(0)[0]) for model in [made.model.eval()] * 2])


class Narrows(nn.Module):
    def forward(self, value):
        return value[:, 1:]


def test_a_stage_sends_nothing_of_another_shape():
    """Its neighbour would take what was in its memory before for the rest."""
    made = cut("plain", stages=2)
    made.begin()
    made.stages[0].runners[0].body.append(Narrows())
    with pytest.raises(SettingError, match=r"before block 4 is \(4, 7\), and of the first .*4, 8"):
        predict(made.stages, batch(0)[0], lambda *_: None, [None, None])


def test_another_seed_of_a_step_is_another_dropout():
    made, ends = cut("dropout", 2), []
    for seed in (1, 1, 2):
        made.begin()
        given = [
            replace(own, seed=seed if stage == 1 else own.seed)
            for stage, own in enumerate(made.given(0))
        ]
        train_step(made.stages, given, [None, None])
        ends.append(torch.cat(made.weights()))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


# Against torch's own pipelines, as far as one process goes


@pytest.fixture(scope="module")
def group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("schedule", ["1f1b", "gpipe"])
@pytest.mark.parametrize("model", ["norms", "dropout", "draws"])
@pytest.mark.parametrize("train", ["clipped", "adamw", "bf16"])
def test_a_pipeline_of_one_stage_is_bit_for_bit_the_same(model, schedule, train):
    ours, theirs = cut(model, train=TRAINS[train]), cut(model, train=TRAINS[train])
    ours.begin()
    theirs.begin()
    pipeline = Pipeline(theirs.stages[0], schedule, lambda: None)
    for step in range(STEPS):
        assert ours.take(step)[0] == pipeline.train_step(theirs.given(step)[0], Passing())
        assert torch.equal(ours.states()[0], theirs.states()[0])
    inputs = batch(0)[0][:3]
    one, other = [], []
    predict(ours.stages, inputs, lambda output, places: one.append((output, places)), [None])
    pipeline.predict(inputs.to(CPU), lambda output, places: other.append((output, places)), None)
    assert all(
        torch.equal(a, b)
        for ours_, theirs_ in zip(one, other, strict=True)
        for a, b in zip(ours_, theirs_, strict=True)
    )


class _Given(Exception):
    """The node is to give up."""


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("schedule", ["1f1b", "gpipe"])
@pytest.mark.parametrize("after", range(8))
def test_a_step_is_given_up_between_any_two_micro_batches_and_on_the_way_back(after, schedule):
    """A neighbour may let a node wait for each of them."""
    [stage] = cut("norms").stages
    asked = []

    def go_on():
        asked.append(1)
        if len(asked) > after:
            raise _Given

    with pytest.raises(RuntimeError) as caught:
        Pipeline(stage, schedule, go_on).train_step(cut("norms").given(0)[0], None)
    assert isinstance(origin(caught.value), _Given)
    assert len(asked) == after + 1
