"""What all tests share."""

import os
import tempfile
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # the ranks of a test job share two cores
os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"
os.environ["HOME"] = tempfile.mkdtemp(prefix="tdml-home-")  # the keys of test nodes are none of the user's

_CIFAR10 = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def cifar10_root() -> Path:
    """The folder that holds CIFAR-10, where there is one."""
    if not (_CIFAR10 / "cifar-10-batches-py").is_dir():
        pytest.skip("CIFAR-10 is not here")
    return _CIFAR10
