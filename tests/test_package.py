"""What a notebook uses."""

import pytest

import tdml
from tdml.errors import SettingError


def test_settings_are_loaded_and_mistakes_are_named() -> None:
    assert tdml.load("topology.replicas=3", "model=mlp").topology.replicas == 3
    with pytest.raises(SettingError, match="replicsa"):
        tdml.load("topology.replicsa=3")


@pytest.mark.parametrize("call", [tdml.load, tdml.train])
def test_a_list_of_settings_is_the_users_mistake(call) -> None:
    with pytest.raises(SettingError, match=r"^\['rounds=5'\] is no setting: .* star: \*settings$"):
        call(["rounds=5"])


def test_the_trust_functions_are_where_they_are_said_to_be() -> None:
    from tdml.trust import mandera, rank_moments, screen

    assert all(map(callable, (mandera, rank_moments, screen)))
