"""The job's store, and who meets there."""

import os

import pytest

from tdml.members.rendezvous import Rendezvous
from tests.jobs import free_port


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch):
    """The coordinator, and who comes after it, at one store."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    for variable in [name for name in os.environ if name.startswith("TORCHELASTIC")]:
        monkeypatch.delenv(variable)
    return Rendezvous(0, 2), lambda rank=1: Rendezvous(rank, 2)
