"""Forming the RPC of a session."""

import pytest
import torch.distributed as dist

from tdml.cluster import wire


def test_members_that_cannot_meet_say_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(
            "Gloo connectFullMesh failed:\nConnection refused, remote=[127.0.0.1]:24972 "
            + "x" * 10_000
        )

    monkeypatch.setattr(wire.rpc, "_init_rpc_backend", fail)
    monkeypatch.setattr(wire, "_prepared", True)
    store = dist.TCPStore("127.0.0.1", 0, is_master=True)
    with pytest.raises(
        wire.NotFormed, match=r"cannot reach one another.*127\.0\.0\.1.*GLOO_SOCKET_IFNAME"
    ) as caught:
        wire.form_rpc(store, "session", 2, 3, 10)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700
