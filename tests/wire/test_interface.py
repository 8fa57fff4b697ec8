"""The interface towards the coordinator's machine."""

import socket

import pytest

from tdml.wire import interface
from tdml.wire.interface import choose_interface, interface_towards, keep_to_this_machine

_VARIABLES = ("GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.1.1", "::1", "localhost", "no.such.host.invalid", ""]
)
def test_there_is_none_towards_this_machine_or_nowhere(host: str) -> None:
    assert interface_towards(host) is None


@pytest.mark.parametrize(
    ("family", "far"),
    [(socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1")],  # nobody's addresses
    ids=["IPv4", "IPv6"],
)
def test_it_is_the_one_with_the_address_that_the_route_starts_from(
    family: socket.AddressFamily, far: str
) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((far, 9))  # nothing is sent
        except OSError:
            pytest.skip("this machine has no such network")
        own = probe.getsockname()[0]
    found = interface_towards(far)
    assert found in [name for _, name in socket.if_nameindex()]
    assert found == interface_towards(own), "the coordinator's own machine takes the same"
    assert found != "lo"


def test_what_the_user_has_chosen_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        interface, "interface_towards", lambda host: "wg0" if host == "10.0.0.1" else None
    )
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    monkeypatch.setenv("TP_SOCKET_IFNAME", "")
    monkeypatch.delenv("TP_SOCKET_IFNAME")
    choose_interface("127.0.0.1")
    assert [interface.os.environ.get(name) for name in _VARIABLES] == ["eth7", None]
    choose_interface("10.0.0.1")
    assert [interface.os.environ.get(name) for name in _VARIABLES] == ["eth7", "wg0"]


def test_what_keeps_to_this_machine_listens_at_its_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wherever the machine's own name leads."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    monkeypatch.setenv("TP_SOCKET_IFNAME", "")
    monkeypatch.delenv("TP_SOCKET_IFNAME")
    keep_to_this_machine()
    assert [interface.os.environ.get(name) for name in _VARIABLES] == ["eth7", "lo"]
