"""The default settings of a job, and some of them changed."""

import copy

import pytest

from tdml import config as settings
from tdml.errors import SettingError
from tdml.settings.checks import check

DEFAULTS = settings.load([])
ATTACK = {"attack._target_": "tdml.attacks.SignFlip"}


def changed(changes):
    """The defaults, with some settings changed behind Hydra's back."""
    config = copy.deepcopy(DEFAULTS)
    for key, value in changes.items():
        *groups, name = key.split(".")
        owner = config
        for group in groups:
            owner = getattr(owner, group)
        if isinstance(owner, dict):
            owner[name] = value
        else:
            assert hasattr(owner, name)
            setattr(owner, name, value)
    return config


def refused(*overrides):
    """What is said of them, in one line."""
    with pytest.raises(SettingError) as caught:
        settings.load(overrides)
    text = str(caught.value)
    assert "\n" not in text
    assert "HYDRA_FULL_ERROR" not in text
    assert "full_key" not in text
    return text


def refused_by_check(changes):
    """What is said of the defaults with these changes, in one line."""
    with pytest.raises(SettingError) as caught:
        check(changed(changes))
    assert "\n" not in str(caught.value)
    return str(caught.value)
