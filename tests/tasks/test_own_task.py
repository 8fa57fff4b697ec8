"""Tasks of users: what is found before any rank starts."""

import math

import pytest
import torch

from tdml import config as settings
from tdml.errors import SettingError
from tdml.tasks import Classification, Task
from tdml.tasks.measures import look_at, losses_of, rows_of
from tdml.tasks.objective import task_of

TARGETS = torch.zeros(4, 2)


class Plain(Task):
    def losses(self, output, targets):
        return (output - targets).abs().mean(dim=1)


class OneLoss(Plain):
    def losses(self, output, targets):
        return (output - targets).abs().mean()


class Compares(Plain):
    """Each sample with the mean of its batch."""

    def losses(self, output, targets):
        return (output - output.mean(dim=0)).abs().mean(dim=1)


class Cox(Plain):
    """Each sample with those before it, which live longer: the first with none."""

    def losses(self, output, targets):
        score = output.sum(dim=1)
        return score.logcumsumexp(dim=0) - score


class Means(Plain):
    def metrics(self, output, targets):
        return {"error": ((output - targets).mean(), torch.ones(len(output)))}


class OneNumber(Plain):
    def metrics(self, output, targets):
        return {"error": 1.0}


class Listed(Plain):
    def metrics(self, output, targets):
        return [torch.ones(len(output))]


class OfTheBatch(Plain):
    def metrics(self, output, targets):
        return {"share": (output.sum(dim=1) / output.sum(), torch.ones(len(output)))}


class OfNumpy(Plain):
    def losses(self, output, targets):
        return super().losses(output, targets).numpy()


class FinishesItself(Plain):
    def metrics(self, output, targets):
        return {"error": (self.losses(output, targets), torch.ones(len(targets)))}

    def finish(self, mean):
        return float(mean)


class Fails(Plain):
    def weights(self, targets):
        raise KeyError("no such\nthing")


class NoTask:
    def losses(self, output, targets):
        return output


class Quantile(Plain):
    def __init__(self, q):
        self.q = q


class NamesLoss(Plain):
    """A metric by a name that is taken."""

    def metrics(self, output, targets):
        return {"loss": (self.losses(output, targets), torch.ones(len(targets)))}


class Weighted(Plain):
    """By a number that nobody trains."""

    def __init__(self):
        self.scale = torch.nn.Parameter(torch.ones(2))


class Projects(Plain):
    """By a network that is as it was drawn, unless `trained`."""

    def __init__(self, trained=False):
        self.net = torch.nn.Linear(2, 3).requires_grad_(trained)


class Noisy(Plain):
    """As diffusion is often written."""

    def losses(self, output, targets):
        return (output + torch.randn_like(output) - targets).square().mean(dim=1)


class Against(Plain):
    def weights(self, targets):
        return torch.where(targets[:, 0] > 0, 1.0, -1.0)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (OneLoss(), r"task: losses\(\) of 4 samples is \(\): give one number a sample, \(4,\)"),
        (
            Compares(),
            r"task: losses\(\) of a sample is another when it is asked again, or more samples are",
        ),
        (
            Cox(),
            r"task: losses\(\) of a sample is another when it is asked again, or more samples are",
        ),
        (
            Noisy(),
            r"task: losses\(\) of a sample is another when it is asked again, or more samples are",
        ),
        (Against(), r"task: weights\(\) has numbers below 0, over which no mean can be taken"),
        (NamesLoss(), r"task: metrics\(\) has one named loss, under which"),
        (Means(), r"task: metrics\(\) error, its sums, of 4 samples is \(\)"),
        (
            OneNumber(),
            r"task: .*: metrics\(\) error is float: give a dict of pairs of tensors, sums and",
        ),
        (Listed(), r"task: .*: metrics\(\) returns list, not a dict of pairs of tensors"),
        (
            OfTheBatch(),
            r"task: metrics\(\) share, its sums, of a sample is another when it is asked",
        ),
        (OfNumpy(), r"task: .*: losses\(\) is a ndarray: give a tensor"),
        (FinishesItself(), r"task: finish is a method: give a dict, with a function for each"),
        (
            Fails(),
            r"task: it does not fit what the model returns, \(4, 2\), for targets \(4, 2\) .*: KeyError\('no such\\nthing'\)",
        ),
    ],
)
def test_functions_that_do_not_add_up_are_refused(task, message):
    with pytest.raises(SettingError, match=message):
        look_at(task, torch.Size([4, 2]), TARGETS)


def test_losses_of_any_precision_are_reported_in_float32():
    """Else an honest node would seem to answer with something else than it was asked for."""
    found = losses_of(Plain(), torch.ones(4, 2, dtype=torch.float64), TARGETS)
    assert (found.dtype, found.tolist()) == (torch.float32, [1.0] * 4)


def test_losses_alone_are_enough():
    measures = look_at(Plain(), torch.Size([4, 2]), TARGETS)
    assert (measures.columns, list(measures.unknown)) == (1, ["loss"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [f"task._target_={__name__}.NoTask"],
            "has no collate, weights, metrics, strata: a task has the functions",
        ),
        (
            [f"task._target_={__name__}.Nothing"],
            "task=tests.tasks.test_own_task.Nothing cannot be used",
        ),
        (["task=regression", "train.label_smoothing=0.1"], "has none: set train.label_smoothing=0"),
        (
            ["task=regression", "data.weights=[1,2]"],
            "data.weights=[1, 2]: task=tdml.tasks.Regression has none",
        ),
        (
            ["task=regression", "task.loss=cosine"],
            "task.loss=cosine is unknown: choose one of mse, mae, huber",
        ),
        (
            [f"task._target_={__name__}.Plain", "data.weights=[1,2]"],
            f"data.weights=[1, 2]: task={__name__}.Plain has none: set data.weights=null",
        ),
        ([f"task._target_={__name__}.Weighted"], "task: its scale requires gradients, and nodes"),
        (
            [f"task._target_={__name__}.Projects", "+task.trained=true"],
            "task: its net.weight requires gradients",
        ),
        ([f"task._target_={__name__}.Quantile"], "missing 1 required positional argument: 'q'"),
    ],
)
def test_what_is_no_task_is_the_users_mistake(overrides, message):
    with pytest.raises(SettingError) as caught:
        task_of(settings.load(overrides), training=True)
    assert message in str(caught.value)


def test_an_own_task_takes_its_settings():
    assert task_of(settings.load([f"task._target_={__name__}.Quantile", "+task.q=0.9"])).q == 0.9


@torch.no_grad()
def test_what_a_task_draws_follows_from_the_jobs_seed():
    """Else every node would have a loss of its own, and honest ones would not agree."""

    def drawn(seed):
        config = settings.load([f"task._target_={__name__}.Projects", f"seed={seed}"])
        return task_of(config).net.weight.tolist()

    assert drawn(1) == drawn(1) != drawn(2)


class Pairs(Plain):
    """A metric of two numbers."""

    def __init__(self, finish=None):
        if finish is not None:
            self.finish = finish

    def metrics(self, output, targets):
        return {
            "slope": (torch.stack([targets[:, 0], output[:, 0]], dim=1), torch.ones(len(output)))
        }


@pytest.mark.parametrize(
    ("finish", "message"),
    [
        (None, r"metrics\(\) slope sums 2 numbers a sample: give finish\['slope'\]"),
        ({"slope": float}, r"finish\['slope'\] fails on the mean, a tensor of shape \(2,\): "),
        ({"slope": lambda mean: {}[mean]}, r"finish\['slope'\] fails on the mean"),
        ({"slope": lambda mean: sum(*mean)}, r"finish\['slope'\] fails on the mean"),
    ],
)
def test_what_is_reported_of_a_metric_is_tried_before_the_start(finish, message):
    with pytest.raises(SettingError, match=message):
        look_at(Pairs(finish), torch.Size([4, 2]), TARGETS)


def test_a_mean_without_a_number_is_no_mistake():
    """Here the first is 0, of which there is no logarithm."""
    task = Pairs({"slope": lambda mean: math.log(mean[0])})
    measures = look_at(task, torch.Size([4, 2]), TARGETS)
    rows = rows_of(task, torch.ones(4, 2), TARGETS)
    assert math.isnan(measures.means(task, torch.ones(4), rows)["slope"])


def test_a_mean_that_only_a_liar_reports_is_none():
    """The root of a negative number is complex in Python, of which there is no float."""
    task = Pairs({"slope": lambda mean: mean[0].item() ** 0.5})
    measures = look_at(task, torch.Size([4, 2]), TARGETS)
    rows = -rows_of(task, torch.ones(4, 2), TARGETS) - 1
    rows[:, 3] = 1
    assert math.isnan(measures.means(task, torch.ones(4), rows)["slope"])


def test_a_task_that_takes_any_setting_takes_the_weights():
    overrides = [f"task._target_={__name__}.TakesAny", "data.weights=[1,2]"]
    assert task_of(settings.load(overrides)).given == {"class_weights": [1, 2]}


def test_a_task_whose_parameters_nobody_knows_is_tried():
    with pytest.raises(SettingError, match=r"task\._target_=builtins\.dict has no collate"):
        task_of(settings.load(["task._target_=builtins.dict"]))
    with pytest.raises(SettingError, match="has no collate"):
        task_of(settings.load(["task._target_=builtins.dict", "data.weights=[1,2]"]))


class TakesAny(Plain):
    def __init__(self, **given):
        self.given = given


def test_who_inherits_from_classification_may_have_no_classes():
    """As for mixed labels, whose targets are shares: the coordinator ended with a stack trace."""
    Classification().check_output(torch.Size([8, 5]), None)
