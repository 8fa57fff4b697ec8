"""The default settings of a job, and some of them changed."""

import copy

import pytest

from tdml import config as settings
from tdml.errors import SettingError

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
