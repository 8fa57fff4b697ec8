"""Replicas that are formed without processes."""

import pytest

from tdml.cluster.replica import RpcReplica


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The replicas that were formed, in their order."""
    formed: list[int] = []
    monkeypatch.setattr(RpcReplica, "join", lambda replica, *_: formed.append(replica.index))
    return formed
