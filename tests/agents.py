"""torchrun's agents, one for each node of a job; here all nodes are this machine."""

import subprocess
import sys
import time
from collections.abc import Callable

from tests.jobs import free_port, start_command


def start_agents(count: int, *overrides: str) -> list[subprocess.Popen]:
    """Agents of one rank each, the coordinator's first."""
    port = str(free_port())
    return [start_command(*torchrun(index, count, port, *overrides)) for index in range(count)]


def torchrun(
    index: int,
    nodes: int,
    port: str,
    *overrides: str,
    ranks: int = 1,
    address: str = "127.0.0.1",
    restarts: int = 0,
) -> list[str]:
    """The command of one node's agent, which starts so many ranks."""
    return [
        sys.executable, "-m", "torch.distributed.run", "--nnodes", str(nodes), "--nproc-per-node",
        str(ranks), "--node-rank", str(index), "--master-addr", address, "--master-port", port,
        "--max-restarts", str(restarts), "-m", "tdml", *overrides,
    ]  # fmt: skip


def wait_until(
    condition: Callable[[], bool], process: subprocess.Popen | None = None, seconds: float = 90
) -> None:
    """Until a condition holds, as long as a process is there that it is about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came"
        assert process is None or process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
