"""What a notebook uses."""

import tdml
from tdml.errors import SettingError


def test_settings_are_loaded_and_mistakes_are_named() -> None:
    assert tdml.load("topology.replicas=3", "model=mlp").topology.replicas == 3
    try:
        tdml.load("topology.replicsa=3")
    except SettingError as error:
        assert "replicsa" in str(error)
    else:
        raise AssertionError("a setting that is none was taken")


def test_the_trust_functions_are_where_they_are_said_to_be() -> None:
    from tdml.trust import rank_moments, screen

    assert all(map(callable, (rank_moments, screen)))
