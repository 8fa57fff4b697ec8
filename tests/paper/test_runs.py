"""The paper's runs: which they are, in which order, and that each is what its name says."""

import pytest

from tdml import config as settings
from tdml.errors import SettingError
from tdml.paper.runs import ATTACKS, PAPERS, RECIPES, SIZES, SMALL, Run, all_runs, choose

RUNS = all_runs()
BY_NAME = {run.name: run for run in RUNS}


def test_all_that_the_paper_has_is_there() -> None:
    clean = [(1, 1), *((replicas, stages) for replicas in SIZES for stages in SIZES)]
    wanted = {Run(m, r, *topology) for m in PAPERS for r in RECIPES for topology in clean}
    wanted |= {Run(m, "paper", *topology, longer=200) for m in PAPERS for topology in clean}
    wanted |= {
        Run(m, r, replicas, 2, attack, defended)
        for m in PAPERS
        for r in RECIPES
        for replicas in (4, 8)
        for attack in ATTACKS
        for defended in (True, False)
    }
    wanted |= {
        Run(m, "paper", replicas, 2, momentum=True, kept=kept)
        for m in PAPERS
        for replicas in (4, 8)
        for kept in (False, True)
    }
    wanted |= {Run(SMALL, r, *topology) for r in RECIPES for topology in ((1, 1), (2, 2), (4, 2))}
    assert wanted <= set(RUNS)
    assert len(BY_NAME) == len(RUNS) == len(set(RUNS))


def test_what_every_run_is_held_against_is_there() -> None:
    assert {run.baseline for run in RUNS} | {run.without_attack for run in RUNS} <= set(RUNS)
    assert all(run.baseline.rounds == run.rounds for run in RUNS)


@pytest.mark.parametrize(("replicas", "momentum"), [(4, 0.75), (8, 0.875)])
def test_with_momentum_a_mean_goes_as_far_as_all_steps(replicas: int, momentum: float) -> None:
    sync = settings.load(BY_NAME[f"resnet18-paper-{replicas}x2-momentum"].settings).sync
    assert (sync.outer, sync.outer_lr, sync.outer_momentum) == ("nesterov", 1.0, momentum)
    assert 1 / (1 - momentum) == replicas
    plain = settings.load(BY_NAME[f"resnet18-paper-{replicas}x2"].settings).sync
    assert plain.outer == "fedavg"


def test_kept_runs_differ_in_that_alone() -> None:
    fresh, kept = (f"resnet18-paper-4x2-momentum{word}" for word in ("", "-kept"))
    assert BY_NAME[kept].settings == [*BY_NAME[fresh].settings, "sync.inner_state=kept"]


def test_the_order() -> None:
    assert [run.name for run in RUNS[:11]] == [
        "resnet18-paper-2x2", "resnet18-paper-1x1", "resnet18-paper-4x2", "resnet18-paper-8x1",
        "resnet18-paper-4x2-gaussian", "resnet18-paper-4x2-zero_gradient",
        "resnet18-paper-4x2-mean_shift", "resnet18_small-fast-2x2", "resnet18_small-fast-1x1",
        "resnet18-paper-1x1-100", "resnet50-paper-2x2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "rounds", "topology", "microbatches"),
    [
        ("resnet18-paper-1x1", 75, (1, 1, 0), 2),
        ("resnet50-paper-1x1-100", 100, (1, 1, 0), 2),
        ("resnet50-paper-1x1-200", 200, (1, 1, 0), 2),
        ("resnet18-paper-2x2", 75, (2, 2, 0), 2),
        ("resnet50-paper-2x8", 75, (2, 8, 0), 8),
        ("resnet50-paper-4x4", 75, (4, 4, 0), 4),
        ("resnet50-paper-8x1", 100, (8, 1, 0), 2),
        ("resnet50-paper-8x8", 100, (8, 8, 0), 8),
        ("resnet18-paper-8x2-200", 200, (8, 2, 0), 2),
    ],
)
def test_a_run_without_attack(name: str, rounds: int, topology: tuple, microbatches: int) -> None:
    config = settings.load(BY_NAME[name].settings)
    assert config.model["_target_"] == f"tdml.models.{name.partition('-')[0]}"
    assert config.data["_target_"] == "tdml.data.cifar10" and config.data["augment"]
    assert config.rounds == rounds
    assert (config.topology.replicas, config.topology.stages, config.topology.spares) == topology
    assert config.microbatches == microbatches
    assert config.sync.local_steps is None  # an epoch a round
    train = config.train
    assert (train.batch_size, train.lr, train.momentum, train.weight_decay) == (128, 0.1, 0.9, 5e-4)
    assert train.schedule == {"_target_": "cosine"}
    assert not config.attack["_target_"]


@pytest.mark.parametrize(
    ("name", "attack", "attackers", "spares", "defended"),
    [
        ("resnet18-paper-4x2-gaussian", "Gaussian", [3], 2, True),
        ("resnet50-paper-4x2-zero_gradient-undefended", "ZeroGradient", [3], 0, False),
        ("resnet50-paper-8x2-mean_shift", "MeanShift", [5, 6, 7], 6, True),
        ("resnet18-paper-8x2-gaussian-undefended", "Gaussian", [5, 6, 7], 0, False),
    ],
)
def test_a_run_with_attackers(
    name: str, attack: str, attackers: list[int], spares: int, defended: bool
) -> None:
    config = settings.load(BY_NAME[name].settings)
    assert config.attack["_target_"] == f"tdml.attacks.{attack}"
    assert (config.attack["replicas"], config.attack["from_round"]) == (attackers, 10)
    assert (config.topology.replicas, config.topology.spares) == (
        4 if len(attackers) == 1 else 8,
        spares,
    )
    assert config.trust.enabled == defended
    assert config.rounds == (75 if len(attackers) == 1 else 100)


def test_the_fast_recipe_is_todays_practice_in_thirty_epochs() -> None:
    config = settings.load(BY_NAME["resnet18-fast-8x2"].settings)
    assert config.rounds == 30
    assert config.train.optimizer == {"_target_": "sgd", "nesterov": True}
    assert config.train.schedule == {"_target_": "onecycle", "pct_start": 0.2}
    assert (config.train.label_smoothing, config.train.decay_norms_and_biases) == (0.1, False)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (
            ["resnet18-paper-4x2"],
            {"resnet18-paper-4x2"},
        ),  # a name is that run alone, not all that begin with it
        (["resnet18-paper-1x1", "resnet50-fast-2x2"], {"resnet18-paper-1x1", "resnet50-fast-2x2"}),
        (["resnet18-paper-[24]x2"], {"resnet18-paper-2x2", "resnet18-paper-4x2"}),
        (["*50-fast-8x?"], {f"resnet50-fast-8x{stages}" for stages in (1, 2, 4, 8)}),
        (
            ["mean_shift-4x2-resnet50-fast"],
            {f"resnet50-fast-4x2-mean_shift{end}" for end in ("", "-undefended")},
        ),
        (
            ["1x1-resnet18"],
            {
                f"resnet18-{end}"
                for end in ("paper-1x1", "paper-1x1-100", "paper-1x1-200", "fast-1x1")
            },
        ),
    ],
)
def test_filters_choose(filters: list[str], expected: set[str]) -> None:
    chosen = choose(filters, RUNS)
    assert {run.name for run in chosen} == expected
    assert chosen == [run for run in RUNS if run in chosen]  # in their own order


def test_without_filters_all_are_chosen() -> None:
    assert choose([], RUNS) == RUNS


@pytest.mark.parametrize(
    "unknown", ["resnet34", "resnet18-paper-3x2", "resnet18-papers", "*-7x7", "", "resnet18-"]
)
def test_an_unknown_filter_is_named(unknown: str) -> None:
    with pytest.raises(SettingError) as caught:
        choose(["resnet18", unknown], RUNS)
    assert str(caught.value).startswith(f"{unknown} is no run")


def test_small_pictures_have_a_stem_of_their_own() -> None:
    for run in {run.model: run for run in RUNS}.values():
        stem = settings.load(run.settings).model.get("stem")
        assert stem == ("cifar_pooled" if run.model == SMALL else None)
