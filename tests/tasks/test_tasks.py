"""The tasks: what they make of samples, and losses and metrics against a plain computation."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tdml import config as settings
from tdml.errors import SettingError
from tdml.tasks import Classification, Language, Masked, Regression
from tdml.tasks.measures import look_at, rows_of
from tdml.tasks.objective import mean_loss, sum_of_weights, task_of

GENERATOR = torch.Generator().manual_seed(0)


def sequences(*lengths):
    return [torch.randint(1, 20, (length,), generator=GENERATOR) for length in lengths]


def images(count):
    return [(torch.rand(3, generator=GENERATOR), i % 4) for i in range(count)]


def table(count, width=2):
    return [
        (torch.rand(3, generator=GENERATOR), torch.rand(width, generator=GENERATOR))
        for _ in range(count)
    ]


CASES = {
    "classification": (Classification(), images(8), (4,)),
    "language": (Language(), sequences(*[9] * 8), (8, 20)),
    "language of several lengths": (
        Language(context=8),
        sequences(9, 2, 5, 9, 3, 9, 9, 4),
        (8, 20),
    ),
    "masked": (Masked(mask_token=0, share=0.4), sequences(*[9] * 8), (9, 20)),
    "regression": (Regression(), table(8), (2,)),
    "huber": (Regression("huber"), table(8, 1), (1,)),
}


def batch_of(case):
    task, samples, shape = CASES[case]
    torch.manual_seed(3)
    _, targets = task.collate(samples)
    return task, torch.randn(8, *shape), targets


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("microbatches", [1, 2, 4])
def test_micro_batches_add_up_to_the_gradient_of_the_whole_batch(case, microbatches):
    """Whatever they hold: with sequences of several lengths some have more tokens than others."""
    task, output, targets = batch_of(case)
    whole, parts = (output.clone().requires_grad_() for _ in range(2))
    loss = mean_loss(task, whole, targets)
    loss.backward()
    total = sum_of_weights(task, targets)
    pieces = zip(parts.chunk(microbatches), targets.chunk(microbatches), strict=True)
    losses = [mean_loss(task, piece, right, total) for piece, right in pieces]
    sum(losses).backward()
    assert sum(losses).item() == pytest.approx(loss.item(), rel=1e-6)
    torch.testing.assert_close(parts.grad, whole.grad, rtol=1e-5, atol=1e-8)


def test_losses_are_those_of_torch():
    task, output, targets = batch_of("language of several lengths")
    plain = F.cross_entropy(output.flatten(0, 1), targets.flatten(), ignore_index=-100)
    assert mean_loss(task, output, targets).item() == pytest.approx(plain.item(), rel=1e-6)
    assert task.weights(targets).tolist() == [8, 1, 4, 8, 2, 8, 8, 3]
    task, output, targets = batch_of("regression")
    assert mean_loss(task, output, targets).item() == pytest.approx(
        F.mse_loss(output, targets).item(), rel=1e-6
    )


@pytest.mark.parametrize("case", ["classification", "language"])
def test_where_nothing_counts_there_is_nothing_to_learn(case):
    """And not what is no number, which would be all that is left of the weights."""
    task, output, targets = batch_of(case)
    output.requires_grad_()
    loss = mean_loss(task, output, targets, own_weights=torch.zeros(len(targets)))
    loss.backward()
    assert (loss.item(), output.grad.abs().max().item()) == (0, 0)


def test_labels_are_smoothed_in_training_alone():
    config = settings.load(["train.label_smoothing=0.3"])
    _, output, targets = batch_of("classification")
    for training in (False, True):
        task, how = task_of(config, training), {"label_smoothing": 0.3 * training}
        plain = F.cross_entropy(output, targets, reduction="none", **how)
        torch.testing.assert_close(task.losses(output, targets), plain)
        torch.testing.assert_close(mean_loss(task, output, targets), plain.mean())


@pytest.mark.parametrize("case", CASES)
def test_metrics_are_of_single_samples_and_add_up(case):
    task, output, targets = batch_of(case)
    measures = look_at(task, output.shape, targets)
    rows = torch.cat(
        [rows_of(task, output[:3], targets[:3]), rows_of(task, output[3:], targets[3:])]
    )
    assert rows.shape == (8, measures.columns)
    torch.testing.assert_close(rows, rows_of(task, output, targets))
    found = measures.means(task, task.losses(output, targets), rows)
    assert list(found)[-1] == "loss"
    assert found["loss"] == pytest.approx(mean_loss(task, output, targets).item(), rel=1e-6)
    assert list(measures.unknown) == list(found)


def test_what_is_reported():
    def found(case):
        task, output, targets = batch_of(case)
        measures = look_at(task, output.shape, targets)
        return (
            measures.means(task, task.losses(output, targets), rows_of(task, output, targets)),
            output,
            targets,
        )

    reported, output, targets = found("classification")
    assert reported["accuracy"] == float((output.argmax(1) == targets).double().mean())
    reported, output, targets = found("language of several lengths")
    assert reported["perplexity"] == pytest.approx(math.exp(reported["loss"]), rel=1e-6)
    counted = targets != -100
    right = (output.argmax(2) == targets)[counted].float().mean()
    assert reported["token_accuracy"] == pytest.approx(float(right), rel=1e-6)
    reported, output, targets = found("regression")
    assert reported["mae"] == pytest.approx(float((output - targets).abs().mean()), rel=1e-6)
    left, all_ = (output - targets).square().sum(), (targets - targets.mean(0)).square().sum()
    assert reported["r2"] == pytest.approx(1 - float(left / all_), rel=1e-5)


def test_perplexity_is_that_of_the_tokens_however_they_are_smoothed():
    _, output, targets = batch_of("language")
    plain, smoothed = (
        Language(label_smoothing=share).metrics(output, targets)["perplexity"] for share in (0, 0.3)
    )
    torch.testing.assert_close(smoothed, plain)


def test_language_hides_the_last_token_and_asks_for_the_next():
    inputs, targets = Language(context=4).collate([np.array([5, 6, 7, 8, 9]), [3, 4]])
    assert inputs.tolist() == [[5, 6, 7, 8], [3, 4, 0, 0]]
    assert targets.tolist() == [[6, 7, 8, 9], [4, -100, -100, -100]]


def test_masked_asks_for_what_it_hides_and_draws_by_the_global_seed():
    task, samples = Masked(mask_token=0, share=0.3, context=6), sequences(6, 4, 9)
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(task.collate(samples))
    (inputs, targets), again, other = draws
    hidden = targets != -100
    assert hidden.any() and not hidden[1, 4:].any()
    assert not inputs[hidden].any()
    assert torch.equal(torch.where(hidden, targets, inputs)[0], samples[0])
    assert torch.equal(torch.where(hidden, targets, inputs)[2], samples[2][:6])
    assert torch.equal(inputs, again[0]) and torch.equal(targets, again[1])
    assert not torch.equal(targets, other[1])


@pytest.mark.parametrize(
    ("task", "sample", "why"),
    [
        (Language(), torch.zeros(3), "torch.float32: return the token ids alone"),
        (
            Language(),
            (torch.zeros(3, dtype=torch.int64), 1),
            "it is a tuple of 2: return the token ids alone",
        ),
        (Language(), torch.zeros(1, dtype=torch.int64), "fewer than two tokens"),
        (
            Language(context=2),
            torch.zeros(4, dtype=torch.int64),
            "4 tokens, and 3 are expected: see data.context",
        ),
        (Language(), torch.tensor([5, -1, 3]), "it has the token -1: ids are whole numbers from 0"),
        (Regression(), (torch.zeros(3), math.nan), "its target is not finite"),
        (
            Regression(),
            torch.zeros(3),
            "it is a Tensor: return a tuple of two, a tensor and its target",
        ),
        (
            Classification(),
            (torch.zeros(3), 0.5),
            r"no class, which is a whole number from 0: .* \(for numbers: task=",
        ),
    ],
)
def test_samples_that_do_not_fit_say_why(task, sample, why):
    with pytest.raises((TypeError, ValueError, RuntimeError), match=why):
        task.collate([sample])


def test_classes_may_count_differently():
    _, output, targets = batch_of("classification")
    weights = [1.0, 5.0, 0.0, 2.0]
    task = Classification(class_weights=weights)
    plain = F.cross_entropy(output, targets, weight=torch.tensor(weights))
    assert mean_loss(task, output, targets).item() == pytest.approx(plain.item(), rel=1e-6)
    total = sum_of_weights(task, targets)
    parts = zip(output.chunk(4), targets.chunk(4), strict=True)
    assert sum(mean_loss(task, *part, total) for part in parts).item() == pytest.approx(
        plain.item(), rel=1e-6
    )
    with pytest.raises(
        SettingError, match=r"data.weights=\[1.0, 5.0, 0.0, 2.0\]: the data has 5 classes"
    ):
        task.check_output(torch.Size([8, 5]), [0, 4])


@pytest.mark.parametrize("case", CASES)
def test_samples_may_count_differently(case):
    """Beside what the task says: the mean is that over all parts of samples, and a sample of weight
    2 counts as if it were there twice."""
    task, output, targets = batch_of(case)
    counts = torch.tensor([1.0, 0, 2, 1, 3, 0, 1, 1])
    repeated = torch.repeat_interleave(torch.arange(8), counts.long())
    whole = mean_loss(task, output[repeated], targets[repeated]).item()
    assert mean_loss(task, output, targets, None, counts).item() == pytest.approx(whole, rel=1e-6)
    total = sum_of_weights(task, targets, counts)
    parts = zip(output.chunk(4), targets.chunk(4), counts.chunk(4), strict=True)
    losses = [mean_loss(task, piece, right, total, own) for piece, right, own in parts]
    assert sum(losses).item() == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize(
    "weights", [[1, -1], [1, math.nan], [1, math.inf], [0, 0], [1, "2"], ["a"], 3, {"a": 1}]
)
def test_weights_of_classes_are_finite_numbers(weights):
    with pytest.raises(SettingError, match="must be one finite number of at least 0 for each"):
        Classification(class_weights=weights)


class Focal(Classification):
    """Another loss."""

    def losses(self, output, targets):
        return super().losses(output, targets) ** 2


class Fives(Classification):
    """Other weights."""

    def weights(self, targets):
        return 1.0 + 4.0 * (targets == 1)


@pytest.mark.parametrize("task", [Focal(), Fives(), Focal(class_weights=[1, 2, 3, 4])])
def test_what_inherits_from_classification_is_trained_with_its_own_losses_and_weights(task):
    _, output, targets = batch_of("classification")
    losses, weights = task.losses(output, targets), task.weights(targets)
    plain = (weights * losses).sum() / weights.sum()
    assert mean_loss(task, output, targets).item() == pytest.approx(plain.item(), rel=1e-6)


def test_r2_of_numbers_far_from_zero_is_right():
    """Their squares have more digits than float32."""
    targets = 10_000 + torch.rand(64, 1, generator=GENERATOR)
    output = targets + 0.1 * torch.randn(64, 1, generator=GENERATOR)
    task = Regression()
    measures = look_at(task, output.shape, targets)
    rows = rows_of(task, output, targets)
    found = measures.means(task, task.losses(output, targets), rows)["r2"]
    errors, spread = (output - targets).double(), (targets - targets.double().mean()).double()
    assert found == pytest.approx(
        1 - float(errors.square().sum() / spread.square().sum()), rel=1e-4
    )


@pytest.mark.parametrize(
    "label", [torch.tensor([2]), np.array([2]), torch.tensor(2), 2, np.int64(2)]
)
def test_a_label_in_whatever_wrapping_is_a_class(label):
    task = Classification()
    _, alone = task.collate([(torch.zeros(3), label)])
    _, targets = task.collate([(torch.zeros(3), label)] * 4)
    made = (torch.zeros(2, 3), torch.tensor([[2], [1]]))  # as a data set's own batches have it
    assert (alone.tolist(), targets.tolist(), task.collate(made)[1].tolist()) == (
        [2],
        [2] * 4,
        [2, 1],
    )


@pytest.mark.parametrize("target", [[0.5, 1.0], (0.5, 1.0), {"price": 1.0}, "dear", None])
def test_targets_that_are_no_numbers_are_named(target):
    with pytest.raises(TypeError, match=r"its target is .*: return a number, or a tensor"):
        Regression().collate([(torch.zeros(3), target)] * 2)
