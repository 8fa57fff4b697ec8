"""Overrides on the command line."""

import argparse

import pytest

from tdml import config as settings
from tdml.errors import SettingError
from tdml.settings.overrides import add_arguments, overrides_of
from tests.settings.configs import refused


@pytest.mark.parametrize(
    ("override", "message"),
    [
        *(
            (
                option,
                f"{option}: settings are written without dashes, as key=value (tdml train --sh",
            )
            for option in ("--rounds", "--rounds=3", "-m", "--multirun", "-cd", "--cfg", "--info")
        ),
        ("--config-name", "--config-name: settings are written without dashes, as key=value"),
        (
            "hydra.run.dir=x",
            (
                "hydra.run.dir=x: of Hydra's own settings only hydra.searchpath counts here; a "
                "run's fold"
            ),
        ),
        (
            "hydra/launcher=joblib",
            "hydra/launcher=joblib: of Hydra's own settings only hydra.searchpath counts here",
        ),
        ("hydra=null", "hydra=null: of Hydra's own settings only hydra.searchpath counts here"),
        (
            "+hydra.searchpath=[conf]",
            "+hydra.searchpath=[conf]: of Hydra's own settings only hydra.searchpath counts",
        ),
        ("run_dir='caf\udce9'", "run_dir='caf�' is no UTF-8, as all text is here (LC_ALL=C.UTF-8)"),
        ("name=caf\udce9", "name=caf� is no UTF-8, as all text is here (LC_ALL=C.UTF-8)"),
        ("+experiment=demo", "+experiment=demo: write experiment=demo"),
        ("++model=cnn", "++model=cnn: write model=cnn"),
        ("run_dir=~/runs", "run_dir=~/runs: cannot be read: write the whole path for ~"),
        (
            "seed=range(1,3)",
            "seed=range(1,3) is several values; for a job with each, loop in the shell over tdml",
        ),
        (
            "seed=1,2",
            (
                "seed=1,2 is several values: write a list as seed=[1,2], a text as seed=\"'1,2'\"; "
                "for a job with"
            ),
        ),
        (
            "model=cnn,mlp",
            (
                "model=cnn,mlp: model takes one choice, such as model=cnn; for a job with each, "
                "loop in the"
            ),
        ),
        ("rounds", "rounds: cannot be read: write key=value"),
        ("rounds = 2", "rounds = 2: cannot be read: write key=value, without spaces"),
        ("rounds=[1", "rounds=[1: cannot be read: "),
        (
            "name=größe",
            "name=größe: cannot be read: write key=value, an unusual value in two quotes",
        ),
        ("=3", "=3: the name of the setting is missing"),
        ("", "an argument is empty, as a variable of the shell is that is not set: leave it out"),
        (" ", "an argument is empty"),
        (
            "attack=[ipm,gaussian]",
            "attack=[ipm,gaussian]: attack takes one choice, such as attack=adaptive",
        ),
        (
            "attack=ipm,gaussian",
            "attack=ipm,gaussian: attack takes one choice, such as attack=adaptive",
        ),
        ("topology=2", "topology=2: topology takes one choice, such as topology=default"),
        ("topology=[1]", "topology=[1]: topology takes one choice, such as topology=default"),
        ("model=null", "model=null: model takes one choice, such as model=cnn"),
        (
            "attack.nodes=r0.s0,r1.s0",
            (
                "attack.nodes=r0.s0,r1.s0 is several values: write a list as "
                "attack.nodes=[r0.s0,r1.s0]"
            ),
        ),
        (
            "name=a,b",
            "name=a,b is several values: write a list as name=[a,b], a text as name=\"'a,b'\"",
        ),
    ],
)
def test_what_hydra_would_take_for_something_else_is_refused(override, message):
    assert refused(override).startswith(message)


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("name='a,b'", lambda config: config.name == "a,b"),
        ("name=1.10", lambda config: config.run_dir == "runs/1.10"),
        ("name=2024_01_05", lambda config: config.name == "2024_01_05"),
        ("run_dir=1e3", lambda config: config.run_dir == "1e3"),
        ("name=true", lambda config: config.run_dir == "runs/true"),
        ("name=NaN", lambda config: config.name == "NaN"),
        ("identity.roster=2024_01", lambda config: config.identity.roster == "2024_01"),
        ("identity.ban_list=null", lambda config: config.identity.ban_list is None),
        ("attack.nodes=[r0.s0,r1.s0]", lambda config: config.attack["nodes"] == ["r0.s0", "r1.s0"]),
        ("attack=sign_flip", lambda config: config.attack["_target_"] == "tdml.attacks.SignFlip"),
        ("attack='sign_flip'", lambda config: config.attack["_target_"] == "tdml.attacks.SignFlip"),
        ("+attack.own={a: 1}", lambda config: config.attack["own"] == {"a": 1}),
        ("train.optimizer=adamw", lambda config: config.train.optimizer == {"_target_": "adamw"}),
        (
            "train.optimizer._target_=mine.Opt",
            lambda config: config.train.optimizer == {"_target_": "mine.Opt"},
        ),
        (
            "+train.optimizer.nesterov=true",
            lambda config: config.train.optimizer == {"_target_": "sgd", "nesterov": True},
        ),
        (
            "train.optimizer={_target_: adam, eps: 1}",
            lambda config: config.train.optimizer == {"_target_": "adam", "eps": 1},
        ),
        ("model.stem=cifar", lambda config: config.model["stem"] == "cifar"),
        ("+model.stem=cifar", lambda config: config.model["stem"] == "cifar"),
        ("train.schedule=cosine", lambda config: config.train.schedule == {"_target_": "cosine"}),
    ],
)
def test_one_value_is_taken(override, found):
    assert found(settings.load([override, "attack=sign_flip", "attack.replicas=[1]"]))


def test_a_search_path_is_given_once():
    assert refused("hydra.searchpath=[a]", "hydra.searchpath=[b]").startswith(
        "hydra.searchpath is given twice"
    )


def parsed(*arguments):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_arguments(parser)
    return overrides_of(*parser.parse_known_args(arguments))


@pytest.mark.parametrize("name", ["plain", "a b", "it's, $mine", "größe", "back\\slash"])
def test_a_folder_of_ones_own_wherever_it_stands_and_whatever_its_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name / "experiment").mkdir(parents=True)
    (tmp_path / name / "experiment" / "mine.yaml").write_text("# @package _global_\nrounds: 7\n")
    config = settings.load(parsed("seed=1", "--config-dir", name, "experiment=mine", "name=x"))
    assert (config.seed, config.rounds, config.name) == (1, 7, "x")


def test_a_folder_of_ones_own_that_is_none():
    with pytest.raises(SettingError, match=r"^--config-dir nowhere is no folder$"):
        parsed("--config-dir", "nowhere")


def test_what_no_parser_knows_stays_in_its_place():
    assert parsed("a=1", "-m", "b=2", "--rounds=3", "c=3") == [
        "a=1",
        "-m",
        "b=2",
        "--rounds=3",
        "c=3",
    ]


def test_what_is_typed_last_counts():
    """Benchmarks put names before and behind the user's."""
    assert settings.load(["name=a", "name=1.10"]).name == "1.10"
    assert settings.load(["name=1.10", "name=a"]).name == "a"


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (["data=tokens"], ("2024_01", "0.20")),
        (["data._target_=mine.Data"], (202401, 0.2)),
    ],
)
def test_a_data_set_of_ones_own_may_take_a_number_where_ours_take_a_path(target, found):
    data = settings.load([*target, "++data.path=2024_01", "++data.test=0.20"]).data
    assert (data["path"], data["test"]) == found
