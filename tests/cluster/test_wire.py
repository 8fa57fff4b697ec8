"""Joining the job's RPC."""

import pytest

from tdml.cluster import wire
from tdml.config import load
from tdml.errors import SettingError


class _Lobby:
    rank = 3


def test_ranks_that_cannot_meet_say_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(
            "Gloo connectFullMesh failed:\nConnection refused, remote=[127.0.0.1]:24972 "
            + "x" * 10_000
        )

    monkeypatch.setattr(wire.rpc, "init_rpc", fail)
    with pytest.raises(
        SettingError, match=r"^rank 3 cannot reach .*127\.0\.0\.1.*GLOO_SOCKET_IFNAME"
    ) as caught:
        wire.start_rpc(_Lobby(), (0, 1, 3), load([]))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700
