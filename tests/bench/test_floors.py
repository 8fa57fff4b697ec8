"""The least that a round's phases could take."""

import os

import pytest
import torch

from tdml import config as settings
from tdml.bench import floors
from tdml.common.environment import MEMORY
from tdml.data.source import load_source
from tdml.lab.fleet import LocalReplica
from tdml.protocol.orders import TrainOrder
from tdml.run.prepare import prepare


@pytest.mark.parametrize("set_here", [[], list(MEMORY), list(MEMORY)[:1]])
def test_a_bare_transfer_is_timed_without_our_settings_of_memory(
    set_here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And they are back afterwards, also if it fails."""
    for name in MEMORY:
        monkeypatch.delenv(name, raising=False)
    for name in set_here:
        monkeypatch.setenv(name, "1")
    before, seen = dict(os.environ), []

    def spawn(*_: object, **__: object) -> None:
        seen.append(dict(os.environ))
        raise RuntimeError("seen enough")

    monkeypatch.setattr(floors.multiprocessing, "spawn", spawn)
    with pytest.raises(RuntimeError, match="seen enough"):
        floors.transfer([1])
    [during] = seen
    assert during == {name: value for name, value in before.items() if name not in MEMORY}
    assert dict(os.environ) == before


def test_records_are_those_of_a_round_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it is, whoever attacks in other replicas, with the windows that it has."""
    config = settings.load(
        ["model=mlp", "topology.replicas=3", "topology.stages=2", "attack=sign_flip",
         "attack.replicas=[2]", "topology.min_replicas=2"]
    )  # fmt: skip
    job, orders = prepare(config, load_source(config), None), list[TrainOrder]()
    train = LocalReplica.train

    def note(replica: LocalReplica, order: TrainOrder, late: object) -> object:
        orders.append(order)
        return train(replica, order, late)

    monkeypatch.setattr(LocalReplica, "train", note)
    assert floors.cost_of_records(job) > -1
    assert all(torch.equal(order.batches, job.batches(0, 1)) for order in orders)
    assert len(orders[0].batches) == 1437 // 3 // 32
    bounds = [order.bounds for order in orders]
    windows = job.window_bounds(14)
    assert bounds == [windows, (), windows, (), windows, (), windows]
