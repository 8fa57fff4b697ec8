"""Of which kind of machine a replica is."""

from types import SimpleNamespace

import pytest

from tdml.cluster.replica import RpcReplica
from tests.cluster.fleets import make_fleet


@pytest.mark.parametrize(
    ("kinds", "kind"),
    [(["A", "A", "A"], "A"), (["A", "A", "B"], "A + A + B"), (["A", "B", "B"], "A + B + B")],
)
def test_machines_that_differ_are_named_by_stage(kinds: list[str], kind: str) -> None:
    """Else two replicas would have to repeat each other bit for bit that cannot."""
    replica = RpcReplica.__new__(RpcReplica)
    fleet = make_fleet([])
    replica.index, replica.nodes = 0, [fleet.nodes[f"r{i}.s0"] for i in range(3)]
    replica.names = tuple(node.name for node in replica.nodes)
    replica._caller = SimpleNamespace(keys={node.name: "" for node in replica.nodes})
    replica._exchange = SimpleNamespace(ask=lambda *_: kinds)
    replica.join(1, None, "gloo", None)
    assert replica.kind == kind
