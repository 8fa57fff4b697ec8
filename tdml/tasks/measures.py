"""A task's metrics as numbers that are added up: over samples, batches and nodes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from tdml.errors import SettingError, one_line, refusing
from tdml.tasks.base import Task

_METRICS = "a dict of pairs of tensors, sums and counts of each sample (docs/your-task.md)"
_ALONE = 8  # samples of which it is tried what a task says of each alone
_NO_NUMBER = (OverflowError, ValueError, ZeroDivisionError)  # as math says it


@dataclass(frozen=True)
class Measures:
    """How the numbers of one sample lie in a row: its weight, then of each metric the sums and the
    count."""

    widths: Mapping[str, int]  # numbers that are summed, by metric

    @property
    def columns(self) -> int:
        """Numbers in a row."""
        return 1 + sum(width + 1 for width in self.widths.values())

    @property
    def unknown(self) -> dict[str, None]:
        """What is reported where nothing could be measured."""
        return dict.fromkeys([*self.widths, "loss"])

    def means(self, task: Task, losses: torch.Tensor, rows: torch.Tensor) -> dict[str, float]:
        """What is reported: the metrics by name, then the loss.

        Args:
            losses: (k,) of all samples.
            rows: (k, columns) float64; see `rows_of`.
        """
        weights = rows[:, 0]
        finish = getattr(task, "finish", {})
        means = {
            name: _finished(finish.get(name, float), mean)
            for name, mean in self.mean_rows(rows).items()
        }
        return means | {"loss": float((losses.double() * weights).sum() / weights.sum())}

    def mean_rows(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        """The sums of each metric divided by its counts: (m,) float64, and a scalar where m is
        1."""
        means, place = {}, 1
        for name, width in self.widths.items():
            added = rows[:, place : place + width + 1].sum(dim=0)
            means[name] = (added[:-1] / added[-1]).squeeze(0)
            place += width + 1
        return means


def losses_of(task: Task, output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(k,) float32, as nodes report them, in whatever precision the task has computed them."""
    return task.losses(output, targets).float()


def rows_of(task: Task, output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(k, columns) float64 of some samples, as `Measures` says."""
    columns = [task.weights(targets).double().view(-1, 1)]
    for sums, counts in task.metrics(output, targets).values():
        columns += [sums.double().view(len(counts), -1), counts.double().view(-1, 1)]
    return torch.cat(columns, dim=1)


def look_at(task: Task, shape: torch.Size, targets: torch.Tensor) -> Measures:
    """Try a task on numbers of the form that the model returns for a micro-batch; what its metrics
    look like.

    Raises:
        SettingError: a function of it fails, or does not give one number a sample, that is of this
            sample alone.
    """
    output = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    answers = _tried(task, output, targets)
    for name, (value, most) in answers.items():
        if value.shape[:1] != (len(output),) or value.dim() > most:
            raise SettingError(
                f"task: {name} of {len(output)} samples is {tuple(value.shape)}: give one number a "
                f"sample, ({len(output)},)"
            )
    if (answers["weights()"][0] < 0).any():
        raise SettingError(
            "task: weights() has numbers below 0, over which no mean can be taken: 0 leaves a "
            "sample out"
        )
    for place in (slice(None), *(slice(i, i + 1) for i in range(min(len(output), _ALONE)))):
        _compare(answers, place, _tried(task, output[place], targets[place]))
    if "loss" in task.metrics(output, targets):
        raise SettingError(
            "task: metrics() has one named loss, under which the mean of losses() is reported: "
            "give it another name"
        )
    measures = Measures(
        {name: _width(sums) for name, (sums, _) in task.metrics(output, targets).items()}
    )
    _try_finish(task, measures, rows_of(task, output, targets))
    return measures


def _compare(
    answers: Mapping[str, tuple[torch.Tensor, int]],
    place: slice,
    again: Mapping[str, tuple[torch.Tensor, int]],
) -> None:
    """What a task says of some samples among others, when it is asked of these again, must be the
    same: it is added up over micro-batches and nodes."""
    other = answers.keys() ^ again.keys()
    both = answers.keys() & again.keys()
    other |= {name for name in both if not _alike(answers[name][0][place], again[name][0])}
    if other:
        raise SettingError(
            f"task: {min(other)} of a sample is another when it is asked again, or more samples "
            "are in the batch: it must be of this sample alone; draw in the dataset, in collate() "
            "or in the model's forward(), and count or keep nothing in the task"
        )


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one.double(), other.double(), 1e-3, 1e-5, True)


def _tried(
    task: Task, output: torch.Tensor, targets: torch.Tensor
) -> dict[str, tuple[torch.Tensor, int]]:
    """All that it says of some samples, and how many dimensions that may have."""
    sizes = f"{tuple(output.shape)}, for targets {tuple(targets.shape)}"
    with refusing(f"task: it does not fit what the model returns, {sizes} (see task, model, data)"):
        answers = {
            "losses()": (task.losses(output, targets), 1),
            "weights()": (task.weights(targets), 1),
        }
        for name, (sums, counts) in _metrics(task, output, targets).items():
            answers |= {
                f"metrics() {name}, its sums,": (sums, 2),
                f"metrics() {name}, its counts,": (counts, 1),
            }
        if (strata := task.strata(targets)) is not None:
            answers["strata()"] = (strata, 1)
        for name, (value, _) in answers.items():
            if not isinstance(value, torch.Tensor):
                raise TypeError(f"{name} is a {type(value).__name__}: give a tensor")
    return answers


def _metrics(
    task: Task, output: torch.Tensor, targets: torch.Tensor
) -> Mapping[str, tuple[torch.Tensor, torch.Tensor]]:
    """The task's metrics, if they have the form that they must have."""
    metrics = task.metrics(output, targets)
    if not isinstance(metrics, Mapping):
        raise TypeError(f"metrics() returns {type(metrics).__name__}, not {_METRICS}")
    for name, value in metrics.items():
        pair = isinstance(value, tuple) and [type(part) for part in value]
        if pair != [torch.Tensor, torch.Tensor]:
            raise TypeError(f"metrics() {name} is {type(value).__name__}: give {_METRICS}")
    return metrics


def _width(sums: torch.Tensor) -> int:
    return sums.shape[1] if sums.dim() == 2 else 1


def _try_finish(task: Task, measures: Measures, rows: torch.Tensor) -> None:
    """Try what is reported of each metric on the means of some samples. A mean of which it says
    that there is no such number, as a logarithm of 0, is no mistake, if another is."""
    finish, means = getattr(task, "finish", {}), measures.mean_rows(rows)
    if means and not isinstance(finish, Mapping):
        raise SettingError(
            f"task: finish is a {type(finish).__name__}: give a dict, with a function for each "
            'metric that is more than a mean, such as {"perplexity": math.exp} (docs/your-task.md)'
        )
    for name, mean in means.items():
        try:
            try:
                float(finish.get(name, float)(mean))
            except _NO_NUMBER:
                float(finish.get(name, float)(torch.full_like(mean, 0.5)))
        except Exception as error:
            width = measures.widths[name]
            text = (
                f"finish[{name!r}] fails on the mean, a tensor of shape {tuple(mean.shape)}: "
                f"{one_line(error)}"
                if name in finish
                else f"metrics() {name} sums {width} numbers a sample: give finish[{name!r}], "
                "which makes one number of their means, or a metric for each"
            )
            raise SettingError(f"task: {text} (docs/your-task.md)") from error


def _finished(finish: Callable[[torch.Tensor], float], mean: torch.Tensor) -> float:
    """Of a mean that only a liar can have reported it may make anything: it was tried on a true
    one."""
    try:
        return float(finish(mean))
    except Exception:
        return float("nan")
