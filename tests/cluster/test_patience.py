"""How long a node may say that it is still at it."""

import time

import pytest

from tdml.cluster.patience import Patience


def test_nobody_is_late_before_anybody_has_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    late = Patience(32, 5.0).late(100)
    monkeypatch.setattr(time, "monotonic", lambda: 1e9)
    assert late() is None


def test_who_takes_far_longer_than_the_slowest_trained_is_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    patience = Patience(32, 5.0)
    patience.trained(100, 10.0)
    patience.trained(100, 20.0)
    late = patience.late(50)  # which are two batches
    now[0] = 60 + 5 * 12.8 - 1
    assert late() is None
    now[0] += 2
    assert "late: not done after 125.0 s (training on as much took 12.8 s)" in str(late())
