"""Whole jobs whose stages lie on another device than the host: a stand-in for GPUs, for where there
are none."""

import shutil

import pytest
import torch
from torch.utils import cpp_extension

from tests.jobs import SMALL, free_port, run_torchrun

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        shutil.which("c++") is None or not cpp_extension.is_ninja_available(),
        reason="no C++ compiler, or no ninja",
    ),
]
ATTACKED = [
    *SMALL, "topology.replicas=3", "topology.stages=2", "topology.spares=1", "sync.local_steps=3",
    "rounds=3", "trust.budget=1", "trust.budget=1", "attack=gaussian", "attack.nodes=[r1.s0]",
    "attack.from_round=2",
]  # fmt: skip
INTERLEAVED = [
    "model=resnet18", "topology.replicas=1", "topology.stages=3",
    "topology.schedule=interleaved_1f1b", "train=adamw", "sync.local_steps=2", "rounds=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """The folder that has the device."""
    from tests.stand_in.device import build

    folder = tmp_path_factory.mktemp("device")
    build(folder)
    return folder


@pytest.mark.parametrize(
    ("settings", "ranks"), [(ATTACKED, 8), (INTERLEAVED, 4)], ids=["attacked", "interleaved"]
)
def test_another_device_changes_no_bit(settings, ranks, device, tmp_path):
    expected = model_of(tmp_path / "host", ranks, settings, "tdml").items()
    for backend, borders in (("gloo", "cpu"), ("nccl", "standin:0")):
        model = model_of(
            tmp_path / backend, ranks, settings, "tests.stand_in", str(device), backend, borders
        )
        for name, tensor in expected:
            assert torch.equal(tensor, model[name]), name


def model_of(run, ranks, settings, module, folder="", backend="gloo", borders=""):
    """What a job trains."""
    start = ["--nproc-per-node", str(ranks), "--master-port", str(free_port()), "-m", module]
    own = [folder, backend] if folder else []
    result = run_torchrun(*start, *own, *settings, f"run_dir={run}", seconds=180)
    assert result.returncode == 0, result.stdout
    assert f"stages connected by {backend}" in result.stdout
    assert " lost: " not in result.stdout
    if folder:
        assert result.stdout.count(f"stage on standin:0, borders on {borders}") >= ranks - 2
    assert ("r1.s0 malicious, banned" in result.stdout) == (settings is ATTACKED)
    return torch.load(run / "model.pt", weights_only=True)
