"""The process group of a replica is formed again and again, also after attempts that have failed."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist

from tdml.models.plan import Plan
from tdml.protocol.orders import Assignment, Slot
from tdml.wire.group import connect, disconnect

pytestmark = pytest.mark.timeout(60)
_CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _group() -> Iterator[None]:
    yield
    disconnect()


def test_who_has_failed_meets_those_who_have_not() -> None:
    """The keys at which nodes meet must not tell what each of them has gone through before."""
    store = dist.HashStore()
    keys = _keys_of_meeting(store, generation=1)
    for generation in (2, 3):
        with pytest.raises(dist.DistError):  # nobody else comes
            connect(store, _assignment(generation), stages=2, timeout=0.2, device=_CPU)
        disconnect()
    assert _keys_of_meeting(store, generation=4) == keys


def _keys_of_meeting(store: dist.HashStore, generation: int) -> set[str]:
    connect(store, _assignment(generation), stages=1, timeout=20, device=_CPU)
    disconnect()
    prefix = f"replica0/generation{generation}/"
    return {key.split(prefix)[1] for key in store.list_keys() if prefix in key}


def _assignment(generation: int) -> Assignment:
    return Assignment(Slot(0, 0), generation, Plan((), (), (), 1), "gloo", ("r0.s0",), ("",))
