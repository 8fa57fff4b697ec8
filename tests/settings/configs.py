"""The default settings of a job, and some of them changed."""

import copy

from tdml import config as settings

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
