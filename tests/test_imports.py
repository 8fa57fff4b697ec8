"""What a job does not import where it does not need it: each of these costs every start tenths of
seconds."""

import json
import subprocess
import sys

import pytest

_FIGURES = {"matplotlib", "tensorboard", "PIL", "pandas"}
_STATISTICS = {"scipy", "sklearn", "numba"}
_COMPUTING = {"torch", "numpy", "torchvision", "sympy", "safetensors"}
_SCRIPTS = {
    "the launcher": (
        "from tdml import cli; cli.run(['train', '--show-config'])",
        _FIGURES | _STATISTICS | _COMPUTING,
    ),
    "all ranks": (
        "from tdml.run import launch; launch.import_once()",
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
    script, heavy = _SCRIPTS[who]
    told = f"{script}\nimport json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, timeout=60, check=True
    )
    assert not heavy & set(json.loads(done.stdout.splitlines()[-1]))


def test_no_gpu_is_touched_before_the_ranks_are_forked() -> None:
    """CUDA cannot be used in the forks of a process that has only so much as counted its GPUs."""
    script = """
import torch
asked = []
for name in ("is_available", "device_count", "_lazy_init"):
    setattr(torch.cuda, name, lambda name=name: asked.append(name))
from tdml.run import launch
launch.import_once()
assert not asked, asked
"""
    subprocess.run([sys.executable, "-c", script], timeout=60, check=True)
