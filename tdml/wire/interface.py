"""The network interface by which this machine's ranks reach the others."""

import fcntl
import ipaddress
import os
import socket
import struct
from pathlib import Path

# names the variable with the open socket on which rank 0 hosts the job's store
STORE_SOCKET = "TDML_STORE_SOCKET"
_SIOCGIFADDR = 0x8915  # Linux: the IPv4 address of an interface
_IPV6 = Path("/proc/net/if_inet6")  # Linux: a line for every address, in hex, the interface last
_DISCARD = 9  # a port; nothing is sent there


def choose_interface(host: str) -> None:
    """Have gloo and RPC listen where `host`, the coordinator's machine, can be reached, unless the
    user has chosen.

    Left alone they take the address that the machine's own name leads to, which on many machines is
    127.0.1.1.
    """
    if (name := interface_towards(host)) is not None:
        _listen_at(name)


def keep_to_this_machine() -> None:
    """Have them listen where no other machine reaches them, unless the user has chosen. The
    machine's own name may lead to its network, as it does in containers."""
    if (name := loopback()) is not None:
        _listen_at(name)


def _listen_at(interface: str) -> None:
    for variable in ("GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME"):
        os.environ.setdefault(variable, interface)


def loopback() -> str | None:
    """The name of the interface that leads to this machine alone; None if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        own = {name: _address(probe, name) for _, name in socket.if_nameindex()}
    return next(
        (name for name, at in own.items() if at and ipaddress.ip_address(at).is_loopback), None
    )


def interface_towards(host: str) -> str | None:
    """The name of the interface on the way to `host`; None where that is this machine alone, or is
    not known."""
    try:
        ways = socket.getaddrinfo(host, _DISCARD, type=socket.SOCK_DGRAM)
        # a name may lead to both, and most machines are reached by IPv4 at least
        family, *_, there = min(ways, key=lambda way: way[0] is not socket.AF_INET)
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(there)
            own = ipaddress.ip_address(probe.getsockname()[0])
        return None if own.is_loopback else _interface_with(own)
    except OSError:
        return None


def _interface_with(own: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str | None:
    if own.version == 6:
        held = map(str.split, _IPV6.read_text(encoding="utf-8").splitlines())
        return next((line[-1] for line in held if line[0] == own.packed.hex()), None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        names = [name for _, name in socket.if_nameindex()]
        return next((name for name in names if _address(probe, name) == str(own)), None)


def _address(probe: socket.socket, interface: str) -> str:
    """The first IPv4 address of an interface; "" if it has none."""
    request = struct.pack("256s", interface.encode()[:15])
    try:
        return socket.inet_ntoa(fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)[20:24])
    except OSError:
        return ""
