"""A user's own file may import torchvision, also beside a CPU build of torch, for which its wheels
are not made."""

import sys

import pytest

from tests.jobs import run_command

_OWN_FILE = """
import torch, torchvision
from torch import nn
from torch.utils.data import TensorDataset
from tdml.attacks import Attack

assert torchvision.transforms

def net():
    return nn.Sequential(nn.Linear(2, 2))

def datasets():
    samples = TensorDataset(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))
    return samples, samples

class Harmless(Attack):
    pass
"""
_USES = """
import os, sys
from tdml.attacks.base import make_attack
from tdml.data.source import load
from tdml.models.split import build
from tdml.settings.targets import partial_of

sys.path.insert(0, {folder!r})
build({{"_target_": "torch.nn.Sequential"}}, "meta")
assert "torchvision" not in sys.modules, "imported though nobody asks for it"
for use in (
    lambda: build({{"_target_": "own.net"}}, "meta"),
    lambda: load({{"_target_": "own.datasets"}}, 0),
    lambda: make_attack({{"_target_": "own.Harmless"}}),
    lambda: partial_of({{"_target_": "own.net"}}, "train.optimizer"),
):
    if (child := os.fork()) == 0:  # each in a process that has not imported torchvision
        use()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.slow
def test_whatever_a_setting_names_may_import_torchvision(tmp_path):
    (tmp_path / "own.py").write_text(_OWN_FILE)
    result = run_command(sys.executable, "-c", _USES.format(folder=str(tmp_path)))
    assert result.returncode == 0, result.stdout
