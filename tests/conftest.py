"""What all tests share."""

import gc
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tdml import config
from tests import environment  # noqa: F401 - before torch, which reads it once
from tests.composing import compose_once
from tests.rehearsing import rehearse_once

if TYPE_CHECKING:
    from tests.jobs import Result

_CIFAR10 = Path(__file__).resolve().parents[2] / "shared" / "data"


gc.disable()  # until all is imported and collected, which stays
compose_once()
rehearse_once()
_compose = config.load


@cache
def _composed(overrides: tuple[str, ...]) -> config.Config:
    return _compose(overrides)


def _load(overrides: list[str]) -> config.Config:
    """Settings that another test has had. Not where a file or the environment has a part in
    them."""
    if any("searchpath" in text or "${" in text for text in overrides):
        return _compose(overrides)
    return deepcopy(_composed(tuple(overrides)))


config.load = _load


@pytest.fixture(scope="session")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> "Result":
    """A run of 3 × 2 nodes and a spare, in which r1.s0 attacks from round 2 of 4 on. It is only
    read."""
    from tests.jobs import SMALL, run_job

    folder = tmp_path_factory.mktemp("attacked")
    result = run_job(
        folder / "run",
        8,
        *SMALL,
        "topology.replicas=3",
        "topology.stages=2",
        "topology.spares=1",
        "sync.local_steps=3",
        "rounds=4",
        "trust.budget=1",
        "rewards.stake=5000000",
        "attack=gaussian",
        "attack.nodes=[r1.s0]",
        "attack.from_round=2",
        f"ledger.artifacts={folder / 'store'}",
    )
    assert result.statuses == [0] * 8, result.output
    return result


@pytest.fixture(scope="session")
def cifar10_root() -> Path:
    """The folder that holds CIFAR-10, where there is one."""
    if not (_CIFAR10 / "cifar-10-batches-py").is_dir():
        pytest.skip("CIFAR-10 is not here")
    return _CIFAR10


@pytest.hookimpl(optionalhook=True)  # of a plugin that a borrowed machine may lack
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    from tests.scheduling import ByFile

    return ByFile(config, log)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
