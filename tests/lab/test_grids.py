"""The grids of cases."""

from dataclasses import replace

import pytest

from tdml import config as settings
from tdml.cli import _parser
from tdml.lab.grids import GRIDS, Case, attack_names, grid, narrowed
from tdml.lab.models import SETTINGS
from tests.lab.cases import case


@pytest.mark.parametrize("name", GRIDS)
def test_the_command_knows_the_grids(name):
    """Without importing them."""
    assert _parser().parse_args(["bench", "detection", "--grid", name]).grid == name


@pytest.mark.parametrize("name", GRIDS)
def test_the_grids_hold_what_can_be_set_up(name):
    cases = grid(name, root="data")
    assert len({case.key for case in cases}) == len(cases)
    assert {case.setting for case in cases} <= set(SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS)
def test_cases_can_be_set_up(setting):
    chosen = Case(
        setting,
        100,
        2,
        None,
        "replay+noise",
        "tdml",
        3,
        5,
        stages=2,
        single_node=True,
        root="there",
    )
    config = settings.load(replace(chosen, extra=("trust.budget=0.25",)).overrides())
    assert (config.topology.replicas, config.sync.local_steps, config.trust.budget) == (
        100,
        None,
        0.25,
    )
    assert (config.attack["noise"], config.attack["nodes"]) == (1, ["r98.s1", "r99.s1"])
    assert config.data.get("root") == ("there" if setting == "cifar-cnn" else None)


def test_clean_cases_have_no_settings_of_an_attack():
    extra = ("attack.scale=0.1", "~attack.share", "+attack.own=1", "train.lr=0.5")
    assert case(extra=extra).overrides()[-1] == "train.lr=0.5"
    assert not [setting for setting in case(extra=extra).overrides() if "attack" in setting]
    assert case("sign_flip", 1, extra=extra).overrides()[-4:] == list(extra)


def test_narrowing_keeps_the_clean_cases_to_compare_with():
    kept = narrowed(
        grid("bar", None), {"attack": ["mean_shift"], "steps": [10], "seed": [1], "attackers": [2]}
    )
    assert {(case.attack, case.replicas, case.attackers, case.partition) for case in kept} == {
        ("none", 8, 0, "iid"), ("none", 8, 0, "dirichlet"), ("mean_shift", 8, 2, "iid"),
        ("mean_shift", 8, 2, "dirichlet"), ("absent", 8, 2, "iid"),
        ("absent", 8, 2, "dirichlet"),
    }  # fmt: skip


def test_every_attack_takes_part():
    assert {"sign_flip", "collusion", "lying_validator", "replay+noise", "backdoor"} <= set(
        attack_names()
    )
    assert {case.attack for case in grid("bar", None)} == {"none", "absent", *attack_names()}
    on_buffers = {case.setting for case in grid("full", ".") if case.attack == "buffer_poison"}
    assert on_buffers == {"digits-cnn", "cifar-cnn"}  # elsewhere it would be refused
