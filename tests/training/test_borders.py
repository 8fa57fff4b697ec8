import hashlib

import torch
from torch import nn

from tdml.training.borders import (
    GRADIENT_RECEIVED,
    GRADIENT_SENT,
    MEASURES,
    NOT_TAKEN,
    RECEIVED,
    SENT,
    SKETCH,
    Recorder,
    empty,
    sketch,
)  # fmt: skip


def plain_sketch(value: torch.Tensor) -> list[float]:
    numbers = [float(x) for x in value.reshape(-1)]
    sums = [sum(numbers[k::8]) for k in range(8)]
    rows = max(-(-len(numbers) // 8), 1)
    return [sum(x * x for x in numbers) ** 0.5, *(s / rows**0.5 for s in sums)]


def test_sketch_equals_a_plain_implementation() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in [(1,), (7,), (8,), (9,), (3, 5), (4, 2, 3, 3)]:
        value = torch.randn(shape, generator=generator)
        found = sketch(value)
        torch.testing.assert_close(found[:MEASURES], torch.tensor(plain_sketch(value), dtype=torch.float64))
        digest = hashlib.sha256(value.numpy().tobytes()).hexdigest()
        assert found[MEASURES:].tolist() == [int(digest[i : i + 12], 16) for i in (0, 12, 24)]


def test_sketch_without_measures_is_the_digest() -> None:
    value = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    found = sketch(value, measured=False)
    assert not found[:MEASURES].any()
    assert torch.equal(found[MEASURES:], sketch(value)[MEASURES:])


def test_sketch_scales_with_the_value_and_is_zero_for_nothing() -> None:
    value = torch.randn(100, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(sketch(3 * value)[:MEASURES], 3 * sketch(value)[:MEASURES])
    assert not sketch(torch.zeros(10))[:MEASURES].any()


def test_a_message_with_the_same_sums_is_another_one() -> None:
    """The samples of a batch in another order: only the digest tells."""
    value = torch.randn(4, 16, generator=torch.Generator().manual_seed(1))
    one, other = sketch(value), sketch(value.roll(1, dims=0))
    torch.testing.assert_close(one[:MEASURES], other[:MEASURES])
    assert not torch.equal(one[MEASURES:], other[MEASURES:])


def test_recorder_hears_every_message_of_a_part_in_the_middle() -> None:
    generator = torch.Generator().manual_seed(2)
    layer = nn.Linear(6, 4)
    recorder = Recorder(layer, first=False, last=False)
    into = torch.zeros(4, 2, SKETCH, dtype=torch.float64)
    recorder.start(into)
    messages = [torch.randn(3, 6, generator=generator).requires_grad_() for _ in range(2)]
    outputs = [layer(message) for message in messages]
    for output, scale in zip(outputs, (1.0, 2.0), strict=True):
        (scale * output.sum()).backward()
    for micro, (message, output, scale) in enumerate(zip(messages, outputs, (1.0, 2.0), strict=True)):
        assert torch.equal(into[RECEIVED, micro], sketch(message))
        assert torch.equal(into[SENT, micro], sketch(output))
        assert torch.equal(into[GRADIENT_RECEIVED, micro], sketch(torch.full((3, 4), scale)))
        assert torch.equal(into[GRADIENT_SENT, micro], sketch(message.grad))


def test_what_a_later_step_sends_is_not_written_into_an_earlier_ones_record() -> None:
    """A pipeline receives in the same tensors at every step."""
    layer, received, seen = nn.Linear(6, 4), torch.ones(3, 6, requires_grad=True), []
    recorder = Recorder(layer, first=False, last=True)
    for scale in (1.0, 2.0, 3.0):
        received.grad, into = None, torch.zeros(4, 1, SKETCH, dtype=torch.float64)
        recorder.start(into)
        (scale * layer(received).sum()).backward()
        seen.append((into, sketch(received.grad)))
    for into, sent in seen:
        assert torch.equal(into[GRADIENT_SENT, 0], sent)
    assert len(received._backward_hooks) == 1  # or every step would cost more than the one before


def test_recorder_at_the_ends_hears_only_what_crosses_a_border() -> None:
    value = torch.ones(2, 3, requires_grad=True)
    for first, last, silent in [(True, False, (RECEIVED, GRADIENT_SENT)), (False, True, (SENT, GRADIENT_RECEIVED))]:
        layer = nn.Linear(3, 3)
        recorder = Recorder(layer, first, last)
        into = torch.zeros(4, 1, SKETCH, dtype=torch.float64)
        recorder.start(into)
        layer(value).sum().backward()
        heard = {kind for kind in range(4) if into[kind].any()}
        assert heard == set(range(4)) - set(silent)


def test_nothing_is_recorded_without_a_place() -> None:
    layer = nn.Linear(3, 3)
    recorder = Recorder(layer, first=False, last=False)
    into = torch.zeros(4, 1, SKETCH, dtype=torch.float64)
    recorder.start(into)
    recorder.start(None)
    layer(torch.ones(2, 3, requires_grad=True)).sum().backward()
    assert not into.any()


def test_without_gradients_only_what_goes_forward_is_recorded() -> None:
    layer, value = nn.Linear(3, 3), torch.ones(2, 3)
    recorder = Recorder(layer, first=False, last=False)
    into = torch.full((4, 1, SKETCH), NOT_TAKEN, dtype=torch.float64)
    recorder.start(into)
    with torch.no_grad():
        output = layer(value)
    assert torch.equal(into[RECEIVED, 0], sketch(value))
    assert torch.equal(into[SENT, 0], sketch(output))
    assert not into[[GRADIENT_RECEIVED, GRADIENT_SENT]].any()
    recorder.start(into, measured=False)
    with torch.no_grad():
        layer(value)
    assert torch.equal(into[SENT, 0], sketch(output, measured=False))


def test_a_gradient_goes_to_the_step_that_its_activation_belongs_to() -> None:
    """A backward pass that ends after the next step has begun must not write into that one."""
    layer = nn.Linear(3, 3)
    recorder = Recorder(layer, first=False, last=False)
    one, other = torch.zeros(4, 1, SKETCH, dtype=torch.float64), torch.zeros(4, 1, SKETCH, dtype=torch.float64)
    recorder.start(one)
    output = layer(torch.ones(2, 3, requires_grad=True))
    recorder.start(other)
    output.sum().backward()
    assert one[GRADIENT_SENT].any()
    assert not other.any()


def test_shape_of_records() -> None:
    assert empty(5, 2, 4).shape == (5, 2, 4, 4, SKETCH)
    assert empty(5, 2, 4).dtype == torch.float64


def test_a_step_that_was_taken_differs_from_one_that_was_not_whatever_crossed() -> None:
    records = empty(2, 1, 1)
    Recorder(nn.Linear(3, 3), first=False, last=False).start(records[1, 0])
    assert (records[0] == NOT_TAKEN).all()
    assert not records[1].any()
    assert not (sketch(torch.full((3,), torch.nan)) == NOT_TAKEN).any()
