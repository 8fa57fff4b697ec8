"""Learning rates: against torch's own schedulers, and as a function of the global step alone."""

import math
from dataclasses import replace

import pytest
import torch

from tdml import config as settings
from tdml.errors import SettingError
from tdml.node.schedule import Schedule, cosine, linear, onecycle, wsd

TRAIN = replace(settings.load([]).train, lr=0.3)
TOTAL = 40


def rates(schedule, warmup=0, rounds=1, longest=TOTAL, **own):
    made = Schedule(replace(TRAIN, schedule={"_target_": schedule, **own}, warmup=warmup), rounds)
    made.check(longest)
    return [
        made.rate(number, step, longest)
        for number in range(1, rounds + 1)
        for step in range(longest)
    ]


def by_torch(make, steps=TOTAL):
    """The rates of one of torch's schedulers."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=TRAIN.lr)
    scheduler, found = make(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


LR = torch.optim.lr_scheduler
OWN_ONE_CYCLE = {"max_lr": TRAIN.lr, "total_steps": TOTAL + 1, "cycle_momentum": False}
CASES = {
    "constant": (lambda: rates("constant"), lambda o: LR.ConstantLR(o, factor=1.0)),
    "cosine": (lambda: rates("cosine"), lambda o: LR.CosineAnnealingLR(o, TOTAL)),
    "cosine to a tenth": (lambda: rates("cosine", final=0.1), lambda o: LR.CosineAnnealingLR(o, TOTAL, 0.1 * TRAIN.lr)),
    "linear": (lambda: rates("linear"), lambda o: LR.LinearLR(o, 1.0, 0.0, TOTAL)),
    "linear to a tenth": (lambda: rates("linear", final=0.1), lambda o: LR.LinearLR(o, 1.0, 0.1, TOTAL)),
    "onecycle": (
        lambda: rates("onecycle", longest=TOTAL + 1)[:TOTAL],
        lambda o: LR.OneCycleLR(o, **OWN_ONE_CYCLE),
    ),
    "onecycle of its own": (
        lambda: rates("onecycle", longest=TOTAL + 1, pct_start=0.45, div_factor=10.0, final_div_factor=100.0)[:TOTAL],
        lambda o: LR.OneCycleLR(o, **OWN_ONE_CYCLE, pct_start=0.45, div_factor=10.0, final_div_factor=100.0),
    ),
    "onecycle with a warm-up": (
        lambda: rates("onecycle", warmup=7, longest=TOTAL + 1)[:TOTAL],
        lambda o: LR.OneCycleLR(o, **OWN_ONE_CYCLE, pct_start=8 / (TOTAL + 1)),
    ),
    "warm-up": (
        lambda: rates("cosine", warmup=8),
        lambda o: LR.SequentialLR(
            o, [LR.LinearLR(o, 1 / 9, 1.0, 8), LR.CosineAnnealingLR(o, TOTAL - 8)], milestones=[8]
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_rates_are_those_of_torch(case):
    ours, torchs = CASES[case]
    assert ours() == pytest.approx(by_torch(torchs), rel=1e-9, abs=1e-12)


def test_a_rate_is_the_very_number_that_lambda_lr_gives():
    for name, function in (
        ("cosine", cosine),
        ("linear", linear),
        ("wsd", wsd),
        ("onecycle", onecycle),
    ):
        assert rates(name) == by_torch(
            lambda o, f=function: LR.LambdaLR(o, lambda step: f(step, TOTAL))
        )


def test_warm_up_stable_decay():
    found = rates("wsd", warmup=4, decay=0.25, final=0.1)
    rising, stable, falling = found[:4], found[4:31], found[31:]
    assert rising == pytest.approx([TRAIN.lr * k / 5 for k in (1, 2, 3, 4)])
    assert stable == [TRAIN.lr] * 27
    # a quarter of the other 36
    assert falling == pytest.approx([TRAIN.lr * (1 - 0.9 * k / 9) for k in range(9)])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "onecycle", "wsd"])
@pytest.mark.parametrize("warmup", [0, 1, 11])
def test_rounds_go_on_where_the_last_one_ended(schedule, warmup):
    assert rates(schedule, warmup, rounds=4, longest=10) == rates(
        schedule, warmup, rounds=1, longest=40
    )


def test_whoever_takes_fewer_steps_has_the_others_rates():
    made = Schedule(replace(TRAIN, schedule={"_target_": "cosine"}), rounds=3)
    # though a replica with 7 steps has taken only those
    assert made.rate(2, 0, 10) == TRAIN.lr * cosine(10, 30)


def test_a_job_of_one_step_has_a_rate():
    for schedule in ("constant", "cosine", "linear", "onecycle", "wsd"):
        assert math.isfinite(*rates(schedule, longest=1))


def halved(step, total, base=2.0):
    """A schedule of one's own."""
    return base ** -(4 * step // total)


def in_words(step, total):
    """As what is read off a file."""
    return "0.5"


class Stairs:
    """Another, with state that it is made with."""

    def __init__(self, steps):
        self.steps = steps

    def __call__(self, step, total):
        return 1 / (1 + step // self.steps)


def test_schedules_of_ones_own():
    here = __name__
    assert rates(f"{here}.halved", base=4.0) == [
        TRAIN.lr * 4.0 ** -(step // 10) for step in range(TOTAL)
    ]
    assert rates(f"{here}.in_words") == [TRAIN.lr / 2] * TOTAL
    assert rates(f"{here}.Stairs", steps=20) == [TRAIN.lr] * 20 + [TRAIN.lr / 2] * 20


def below_zero(step, total):
    """No schedule."""
    return 1 - 2 * step / total


class Fades:
    """No schedule either: it counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, step, total):
        self.calls += 1
        return 1 / self.calls


REFUSED = {
    "train.schedule=cosin is unknown: choose one of constant, cosine, linear, onecycle, wsd": (
        "cosin",
        0,
        {},
    ),
    "train.schedule=wsd cannot be used: .*'end'.*leave out train.schedule.end": (
        "wsd",
        0,
        {"end": 1},
    ),
    "train.schedule=wsd cannot be used: decay=20 must lie between": ("wsd", 0, {"decay": 20}),
    "train.schedule=onecycle cannot be used: pct_start=30 must lie between": (
        "onecycle",
        0,
        {"pct_start": 30},
    ),
    "train.schedule=nowhere.f cannot be used: ": ("nowhere.f", 0, {}),
    "train.schedule=builtins.max cannot be used: no signature": ("builtins.max", 0, {}),
    r"train.warmup=40 must be less than the 40 steps of the job \(4 rounds of 10\)": (
        "linear",
        40,
        {},
    ),
    "train.schedule: its factor at step 39 of 40 is -": (f"{__name__}.below_zero", 0, {}),
    "train.schedule=.*Stairs cannot be used: ": (f"{__name__}.Stairs", 0, {}),
    "train.schedule: its factor at step .* is another when it is asked again: ": (
        f"{__name__}.Fades",
        0,
        {},
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_work_is_refused(message):
    name, warmup, own = REFUSED[message]
    with pytest.raises(SettingError, match=message):
        rates(name, warmup, rounds=4, longest=10, **own)
