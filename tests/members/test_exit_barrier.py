"""Checking in at torchrun's exit barrier for an agent that is lost: with torch's own barrier, in
threads."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch.distributed as dist
from torch.distributed.elastic.agent.server.api import _TERMINAL_STATE_SYNC_ID
from torch.distributed.elastic.utils import store as store_util

from tdml.members.exit_barrier import check_in
from tests.jobs import free_port

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> list[dist.TCPStore]:
    """The connections of three agents, and one of a rank, to the same store."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("GROUP_WORLD_SIZE", "3")
    port = free_port()
    return [
        dist.TCPStore(
            "127.0.0.1",
            port,
            is_master=i == 0,
            wait_for_workers=False,
            timeout=timedelta(seconds=30),
            multi_tenant=True,
        )
        for i in range(4)
    ]


def _keep_books(agent: dist.TCPStore) -> None:
    """What an agent writes down at its start."""
    books = dist.PrefixStore("none", agent)
    books.set("torchelastic/role_info/0", "")
    books.get("torchelastic/role_info/0")  # a set is not answered: others might not see it yet


def _leave(store: dist.TCPStore) -> None:
    """What an agent does whose ranks have ended well."""
    store_util.barrier(
        dist.PrefixStore("none", store), 3, _TERMINAL_STATE_SYNC_ID, barrier_timeout=30
    )


@pytest.mark.parametrize("early", [True, False])
def test_nobody_waits_for_who_is_lost(stores: list[dist.TCPStore], early: bool) -> None:
    *agents, _, rank = stores
    _keep_books(agents[0])
    with ThreadPoolExecutor() as pool:
        if early:
            check_in(rank, 1)
        waiting = [pool.submit(_leave, agent) for agent in agents]
        if not early:
            check_in(rank, 1)
        for future in waiting:
            future.result(timeout=20)


def test_the_living_are_waited_for(stores: list[dist.TCPStore]) -> None:
    _keep_books(stores[0])
    check_in(stores[3], 1)
    assert not dist.PrefixStore("none", stores[3]).check([f"{_TERMINAL_STATE_SYNC_ID}/last_member"])


def test_a_store_that_is_not_the_agents_is_left_alone(stores: list[dist.TCPStore]) -> None:
    before = stores[3].num_keys()
    check_in(stores[3], 1)
    assert stores[3].num_keys() == before
