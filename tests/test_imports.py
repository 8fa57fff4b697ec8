"""What a job does not import where it does not need it: each of these costs every start tenths of
seconds."""

import json
import subprocess
import sys

import pytest

_FIGURES = {"matplotlib", "tensorboard", "PIL", "pandas"}
_STATISTICS = {"scipy", "sklearn", "numba"}
_COMPUTING = {"torch", "numpy", "torchvision", "sympy", "safetensors"}
# CUDA cannot be used in the forks of a process that has only so much as counted its GPUs.
_COUNTING_GPUS = """
import torch
asked = []
for name in ("is_available", "device_count", "_lazy_init"):
    setattr(torch.cuda, name, lambda name=name: asked.append(name))
"""
_SCRIPTS = {
    "the launcher": (
        "from tdml import cli; cli.run(['train', '--show-config'])",
        _FIGURES | _STATISTICS | _COMPUTING,
    ),
    "all ranks": (
        f"{_COUNTING_GPUS}from tdml.run import launch; launch.import_once(); assert not asked, asked",
        _FIGURES | _STATISTICS | {"torchvision"},
    ),
    "a worker and its data": (
        "import tdml.run.start_worker, tdml.node.pipeline; from tdml import config; from tdml.data import source\n"
        "settings = config.load(['model=mlp']); source.load(settings.data, 0)",
        _FIGURES | _STATISTICS | {"rich", "tdml.monitor"},
    ),
}


@pytest.mark.parametrize("who", _SCRIPTS)
def test_what_is_not_imported(who: str) -> None:
    """Nor is a GPU touched before the ranks are forked."""
    script, heavy = _SCRIPTS[who]
    told = f"{script}\nimport json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, timeout=60, check=True
    )
    assert not heavy & set(json.loads(done.stdout.splitlines()[-1]))
