"""What crosses between stages, in the order in which one message depends on another, and the log of
it."""

import pytest
import torch
from blake3 import blake3
from torch import nn

from tdml.node.messages import (
    ACTIVATION,
    GRADIENT,
    NORM,
    TIED,
    TIED_GRADIENT,
    Channel,
    MessageRecorder,
    Passing,
    between,
    channels,
    digest_of,
    empty_log,
    of_stage,
)

# part 1 receives on 0, sends on 1, gets gradients on 2, passes them on on 3
MIDDLE = channels(3, 3, clipped=False)


# Channels


def test_one_stage_has_none():
    assert channels(1, 1, clipped=True) == channels(4, 1, clipped=False) == ()


def test_activations_go_down_gradients_back_and_then_norms_to_all():
    assert channels(3, 3, clipped=True) == (
        Channel(ACTIVATION, 0, 1, 0), Channel(ACTIVATION, 1, 2, 1), Channel(GRADIENT, 2, 1, 2),
        Channel(GRADIENT, 1, 0, 1), Channel(NORM, 0, 1),
        Channel(NORM, 0, 2), Channel(NORM, 1, 0), Channel(NORM, 1, 2), Channel(NORM, 2, 0),
        Channel(NORM, 2, 1),
    )  # fmt: skip


@pytest.mark.parametrize(("parts", "stages"), [(2, 2), (4, 2), (12, 3)])
def test_each_message_comes_after_all_that_it_depends_on(parts, stages):
    made = channels(parts, stages, clipped=True)
    place = {(c.kind, c.place): i for i, c in enumerate(made) if c.kind != NORM}
    for part in range(parts - 1):
        assert made[place[ACTIVATION, part]].sender == part % stages
        assert made[place[ACTIVATION, part]].receiver == made[
            place[GRADIENT, part + 1]
        ].receiver + 1 - stages * ((part + 1) % stages == 0)
        assert place[ACTIVATION, part] < place[GRADIENT, part + 1]
        if part:
            assert place[ACTIVATION, part - 1] < place[ACTIVATION, part]
            assert place[GRADIENT, part + 1] < place[GRADIENT, part]
    norms = [i for i, channel in enumerate(made) if channel.kind == NORM]
    assert norms == list(range(len(place), len(made)))
    assert len(norms) == stages * (stages - 1)


@pytest.mark.parametrize(("parts", "stages"), [(2, 2), (4, 2), (4, 4)])
def test_tied_weights_come_before_all_and_their_gradient_after_all_but_norms(parts, stages):
    made, without = channels(parts, stages, True, ties=True), channels(parts, stages, True)
    norms = stages * (stages - 1)
    gradient = len(made) - norms - 1
    assert made[0] == Channel(TIED, 0, stages - 1, 0)
    assert made[gradient] == Channel(TIED_GRADIENT, stages - 1, 0, parts - 1)
    assert (*made[1:gradient], *made[gradient + 1 :]) == without
    assert channels(1, 1, True, ties=True) == ()


def test_the_channels_of_a_stage_and_between_two():
    made = channels(4, 2, clipped=False)
    assert (
        of_stage(made, 0)
        == of_stage(made, 1)
        == between(made, 0, 1)
        == between(made, 1, 0)
        == list(range(6))
    )
    three = channels(3, 3, clipped=False)
    assert (of_stage(three, 0), of_stage(three, 1), of_stage(three, 2)) == (
        [0, 3],
        [0, 1, 2, 3],
        [1, 2],
    )
    assert (between(three, 0, 1), between(three, 1, 2), between(three, 0, 2)) == (
        [0, 3],
        [1, 2],
        [],
    )
    assert between(channels(3, 3, clipped=True), 0, 2) == [5, 8]


# Passing


def test_a_message_is_named_by_its_tensors_in_their_order():
    one, other = torch.arange(6.0).view(2, 3), torch.tensor([1.0, -0.0], dtype=torch.float64)
    said = [
        b"torch.float32 (2, 3) ",
        one.numpy().tobytes(),
        b"torch.float64 (2,) ",
        other.numpy().tobytes(),
    ]
    expected = blake3(b"".join(said)).digest()
    passing, row = Passing(), torch.zeros(3, 32, dtype=torch.uint8)
    passing.note(1, one)
    passing.note(1, other)
    passing.write(row)
    assert bytes(row[1].tolist()) == digest_of([one, other]) == expected
    assert not row[[0, 2]].any()
    assert passing.kept == {}
    assert digest_of([other, one]) != expected


def test_bf16_and_strided_tensors_are_named_by_what_they_hold():
    value = torch.randn(4, 6)
    assert digest_of([value.t()]) == digest_of([value.t().contiguous()]) != digest_of([value])
    half = value.bfloat16()
    assert (
        digest_of([half])
        == blake3(b"torch.bfloat16 (4, 6) " + half.view(torch.int16).numpy().tobytes()).digest()
    )


def test_the_same_bytes_in_another_form_are_another_message():
    value = torch.zeros(8, 4)
    others = [
        [value.view(4, 8)],
        [value.reshape(-1)],
        list(value.chunk(2)),
        [value.view(torch.int32)],
    ]
    assert len({digest_of(message) for message in [[value], *others]}) == 5


def test_what_is_kept_is_a_copy():
    passing, value = Passing(keeps=True), torch.ones(3, requires_grad=True)
    passing.note(0, value)
    with torch.no_grad():
        value += 1
    assert passing.kept[0][0].tolist() == [1, 1, 1]
    assert not passing.kept[0][0].requires_grad


# MessageRecorder


def heard(recorder, layer, messages, scales=(1.0, 2.0)):
    """What a recorder notes of some micro-batches."""
    passing = Passing(keeps=True)
    recorder.start(passing)
    outputs = [layer(message) for message in messages]
    for output, scale in zip(outputs, scales, strict=True):
        (scale * output.sum()).backward()
    return passing, outputs


def test_a_part_in_the_middle_notes_every_message():
    layer = nn.Linear(6, 4)
    recorder = MessageRecorder(layer, 1, MIDDLE)
    messages = [torch.randn(3, 6).requires_grad_() for _ in range(2)]
    passing, outputs = heard(recorder, layer, messages)
    log = empty_log(1, MIDDLE)
    passing.write(log[0])
    expected = [
        messages,
        outputs,
        [torch.full((3, 4), s) for s in (1.0, 2.0)],
        [m.grad for m in messages],
    ]
    for number, message in enumerate(expected):
        assert bytes(log[0, number].tolist()) == digest_of(message)
        assert all(map(torch.equal, passing.kept[number], message))


@pytest.mark.parametrize(("part", "own"), [(0, [0, 3]), (2, [1, 2])])
def test_a_part_at_an_end_notes_only_what_crosses_a_border(part, own):
    layer = nn.Linear(3, 3)
    recorder = MessageRecorder(layer, part, MIDDLE)
    passing, _ = heard(recorder, layer, [torch.ones(2, 3, requires_grad=True)] * 2)
    assert sorted(passing.kept) == own


def test_what_a_later_step_sends_is_not_noted_with_an_earlier_one():
    """A pipeline receives in the same tensors at every step."""
    layer, received, seen = nn.Linear(6, 4), torch.ones(3, 6, requires_grad=True), []
    recorder = MessageRecorder(layer, 1, MIDDLE)
    for scale in (1.0, 2.0, 3.0):
        received.grad = None
        passing, _ = heard(recorder, layer, [received], (scale,))
        seen.append((passing, received.grad))
    for passing, sent in seen:
        assert len(passing.kept[3]) == 1
        assert torch.equal(passing.kept[3][0], sent)
    assert len(received._backward_hooks) == 1  # or every step would cost more than the one before


def test_a_gradient_goes_to_the_step_that_its_activation_belongs_to():
    """A backward pass that ends after the next step has begun must not be noted with that one."""
    layer, one, other = nn.Linear(3, 3), Passing(keeps=True), Passing(keeps=True)
    recorder = MessageRecorder(layer, 1, MIDDLE)
    recorder.start(one)
    output = layer(torch.ones(2, 3, requires_grad=True))
    recorder.start(other)
    output.sum().backward()
    assert sorted(one.kept) == [0, 1, 2, 3]
    assert other.kept == {}


def test_nothing_is_noted_without_a_place_and_no_gradients_without_training():
    layer, passing = nn.Linear(3, 3), Passing(keeps=True)
    recorder = MessageRecorder(layer, 1, MIDDLE)
    recorder.start(passing)
    recorder.start(None)
    layer(torch.ones(2, 3, requires_grad=True)).sum().backward()
    assert passing.kept == {}
    recorder.start(passing)
    with torch.no_grad():
        layer(torch.ones(2, 3))
    assert sorted(passing.kept) == [0, 1]
