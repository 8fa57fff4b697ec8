"""Who is waited for, in words."""

import pytest

from tdml.members import waiting
from tdml.wire.exchange import Peer


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is second 100."""
    monkeypatch.setattr(waiting.time, "monotonic", lambda: 100.0)


def test_who_has_been_waited_for_long_is_named_with_the_longest_time() -> None:
    nodes = [
        Peer("r0.s0", 1),
        Peer("r1.s0", 2, awaited={7: 88.0, 8: 99.0}),
        Peer("r1.s1", 3, awaited={7: 96.0}),
        Peer("r2.s0", 4, awaited={3: 10.0}, dead=True),
        Peer("r2.s1", 5, awaited={3: 94.0}),
    ]
    assert waiting.waiting_for(nodes) == "waiting for r1.s0, r2.s1 (12 s)"
    assert waiting.waiting_for(nodes[:1]) == waiting.waiting_for(nodes[2:4]) == ""


def test_hundreds_are_counted() -> None:
    nodes = [Peer(f"r{index}.s0", index, awaited={0: 50.0}) for index in range(300)]
    assert (
        waiting.waiting_for(nodes)
        == f"waiting for {', '.join(f'r{i}.s0' for i in range(8))} and 292 more (50 s)"
    )
