"""Hosts for tests: network namespaces of this machine, each with an address of its own, on one
switch. Cables can be slow, lossy, narrow, and cut."""

import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from tests.jobs import kill_tree, start_command

_SWITCH = "switch"
_NETWORK = "10.0.0."  # as in docs/two-machines.md


class Hosts:
    """Namespaces that are named after this process, so that several tests do not meet. Close
    them."""

    def __init__(self, delay: float, loss: float) -> None:
        """Args:
        delay: seconds that a frame takes from one host to another.
        loss: share of the frames that do not arrive on a host's own cable.
        """
        self._delay, self._loss = delay, loss
        self._prefix = f"tdml{os.getpid()}-"
        self._namespaces: list[str] = []
        self._cables: list[subprocess.Popen] = []
        self.commands: list[subprocess.Popen] = []
        _skip_unless_permitted(self._prefix)
        switch = self._add(_SWITCH)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")

    def add(self, number: int) -> str:
        """A host; its address."""
        host, switch = self._add(str(number)), self.namespace(_SWITCH)
        cable = start_command(
            sys.executable,
            "-m",
            "tests.relay",
            f"{host}:eth0",
            f"{switch}:port{number}",
            str(self._delay / 2),
            str(self._loss),
        )
        self._cables.append(cable)
        assert cable.stdout.readline() == "ready\n"
        _ip("-n", switch, "link", "set", f"port{number}", "master", "bridge", "up")
        _ip("-n", host, "addr", "add", f"{_NETWORK}{number}/24", "dev", "eth0")
        _ip("-n", host, "link", "set", "eth0", "up")
        return f"{_NETWORK}{number}"

    def start(self, number: int, log: Path, *command: str) -> subprocess.Popen:
        """Start a command on a host; what it says goes to a file."""
        shell = 'log="$1"; shift; exec "$@" >>"$log" 2>&1'
        process = start_command(
            "ip",
            "netns",
            "exec",
            self.namespace(str(number)),
            "sh",
            "-c",
            shell,
            "sh",
            str(log),
            *command,
        )
        self.commands.append(process)
        return process

    def cut(self, number: int, cut: bool = True) -> None:
        """Cut a host's cable, or mend it."""
        state = "down" if cut else "up"
        _ip("-n", self.namespace(_SWITCH), "link", "set", f"port{number}", state)

    def script(self, number: int, ways: Collection[str], seconds: float | None) -> str:
        """Shell commands after which nothing comes "in" to a host, or goes "out" of it, for so long
        or for good. Nobody is told: frames are lost on their way."""
        host, switch = self.namespace(str(number)), self.namespace(_SWITCH)
        ends = {"in": f"{switch} qdisc VERB dev port{number}", "out": f"{host} qdisc VERB dev eth0"}
        cable = "".join(f"tc -n {ends[way]} root blackhole\n" for way in ways)
        cut, mend = cable.replace("VERB", "add"), cable.replace("VERB", "del")
        return cut if seconds is None else f"{cut}(sleep {seconds}\n{mend}) >/dev/null 2>&1 &\n"

    def narrow(self, number: int, megabits: float) -> None:
        """From now on so much goes out of a host in a second."""
        shape = ["tbf", "rate", f"{megabits:g}mbit", "burst", "32kb", "latency", "400ms"]
        _must(
            "tc", "-n", self.namespace(str(number)), "qdisc", "add", "dev", "eth0", "root", *shape
        )

    def namespace(self, host: str) -> str:
        """The name of a host's namespace."""
        return self._prefix + host

    def close(self) -> None:
        """End all that runs on them, and take them away."""
        for process in [*self.commands, *self._cables]:
            kill_tree(process)
        for namespace in self._namespaces:
            _ip("netns", "del", namespace)

    def _add(self, name: str) -> str:
        namespace = self.namespace(name)
        _ip("netns", "add", namespace)
        self._namespaces.append(namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")
        return namespace


def _skip_unless_permitted(prefix: str) -> None:
    if not Path("/dev/net/tun").exists():
        pytest.skip("no network namespaces here: /dev/net/tun is missing")
    probe = f"{prefix}probe"
    try:
        made = subprocess.run(
            ["ip", "netns", "add", probe], check=False, capture_output=True, text=True
        )
    except FileNotFoundError:
        pytest.skip("no network namespaces here: there is no `ip`")
    if made.returncode:
        pytest.skip(f"no network namespaces here: {made.stderr.strip()}")
    _ip("netns", "del", probe)


def _ip(*arguments: str) -> None:
    _must("ip", *arguments)


def _must(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
