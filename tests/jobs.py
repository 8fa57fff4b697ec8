"""Whole jobs for tests: real ranks, real RPC, real groups.

`run_job` starts one process per rank with the environment that torchrun would give it. The
processes are forked from a server that has imported torch once, so a job of five ranks takes
seconds, not half a minute. `run_torchrun` is the real thing, for the tests of the launch itself.
"""

import contextlib
import json
import math
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tdml import config as settings
from tdml.errors import SettingError
from tdml.settings.schema import Config

_ROOT = Path(__file__).resolve().parent.parent
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.preloaded"])

# A small model on small images: what is tested is the system.
SMALL = ["model=cnn", "model.width=8", "data.size=16", "train.lr=0.05"]


@dataclass(frozen=True)
class Result:
    """What a job has left."""

    run: Path
    statuses: list[int]
    output: str

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, but for rounds that were taken back."""
        return [line for line in self.all_rounds if not line.get("void")]

    @property
    def all_rounds(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, in the order in which their rounds began to count."""
        path = self.run / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def summary(self) -> dict[str, Any]:
        """summary.json."""
        return json.loads((self.run / "summary.json").read_text())

    @property
    def accuracy(self) -> float:
        """Test accuracy after the last round; an unknown one counts as 0."""
        return self.rounds[-1]["test_accuracy"] or 0.0

    @property
    def model(self) -> dict[str, torch.Tensor]:
        """model.pt."""
        return torch.load(self.run / "model.pt", weights_only=True)

    def verdicts(self, replica: int) -> list[str]:
        """The verdicts on a replica, round by round; "" where it was not formed."""
        return [line["replicas"].get(str(replica), {}).get("verdict", "") for line in self.rounds]

    def why(self) -> str:
        """What was not found honest, and the reason, for the message of an assertion."""
        return "\n".join(
            f"round {line['round']}, replica {index}: {found['verdict']} {found.get('nodes')}: "
            f"{found['reason']}"
            for line in self.rounds
            for index, found in line["replicas"].items()
            if found["verdict"] != "honest"
        )


def run_job(run: Path, ranks: int, *overrides: str, seconds: float = 90) -> Result:
    """Run a job of that many ranks to its end. Fails if it takes longer than `seconds`."""
    processes, log = start_job(run, ranks, *overrides)
    try:
        return finish_job(run, processes, log, seconds)
    finally:
        for process in processes:
            process.kill()


def start_job(
    run: Path,
    ranks: int,
    *overrides: str,
    address: str = "127.0.0.1",
    places: Sequence[str] = (),
    own: Mapping[int, Sequence[str]] | None = None,
) -> tuple[list[multiprocessing.Process], Path]:
    """Start a job's ranks; the caller must see to it that they end. `places` are the network
    namespaces that they live in, and `address` is that of rank 0 in its own. `own` are overrides of
    some ranks alone."""
    _await_imports()
    log = run.with_name(run.name + ".log")
    shared = {
        "WORLD_SIZE": ranks,
        "LOCAL_WORLD_SIZE": ranks,
        "MASTER_ADDR": address,
        "MASTER_PORT": free_port(),
    }
    arguments = [f"run_dir={run}", *_microbatches(overrides), *overrides]
    config = None if own else _composed(arguments)
    processes = []
    for rank in range(ranks):
        environment = {
            key: str(value) for key, value in (shared | {"RANK": rank, "LOCAL_RANK": rank}).items()
        }
        place = places[rank] if places else None
        given = [*arguments, *(own or {}).get(rank, ())]
        processes.append(forked(_rank, environment, given, config, log, place))
    return processes, log


def _composed(arguments: Sequence[str]) -> Config | None:
    """The settings, for all ranks: Hydra would take a fifth of a second in each. None where they are
    to find what is wrong."""
    try:
        return settings.load(arguments)
    except SettingError:
        return None


def _await_imports() -> None:
    """Nobody's time counts before the server has imported all: on a busy machine that takes two
    minutes."""
    forked(int).join()


def forked(function: Callable[..., object], *arguments: object) -> multiprocessing.Process:
    """Call a function of a module in a process of its own, which has torch already."""
    process = _context.Process(target=function, args=arguments, daemon=True)
    process.start()
    return process


def _microbatches(overrides: Sequence[str]) -> list[str]:
    """As few as fill the pipeline, unless the test says what it wants: what is measured differs
    from run to run."""
    given = dict(override.partition("=")[::2] for override in overrides)
    if given.keys() & {"topology.microbatches", "experiment"}:
        return []
    stages, batch = int(given.get("topology.stages", 2)), int(given.get("train.batch_size", 32))
    least = math.ceil(stages / int(given.get("train.accumulate", 1)))
    return [f"topology.microbatches={next(m for m in range(least, batch + 1) if batch % m == 0)}"]


def finish_job(
    run: Path, processes: list[multiprocessing.Process], log: Path, seconds: float
) -> Result:
    """Wait for a job that `start_job` started."""
    deadline = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    output = log.read_text()
    assert all(process.exitcode is not None for process in processes), (
        f"not done after {seconds} s:\n{output}"
    )
    return Result(run, [process.exitcode for process in processes], output)


def _rank(
    environment: dict[str, str],
    arguments: list[str],
    config: Config | None,
    log: Path,
    place: str | None,
) -> None:
    from tdml.__main__ import main
    from tests.relay import enter

    if config is not None:
        settings.load = lambda _: config
    if place is not None:
        enter(place)
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    sys.stdout = sys.stderr = open(log, "a", buffering=1)  # noqa: SIM115 - for the life of the process
    os._exit(main(arguments))


def run_torchrun(*arguments: str, seconds: float = 90) -> subprocess.CompletedProcess:
    """`torchrun …` in the project's root; all that it started is killed if it takes too long."""
    return run_command(sys.executable, "-m", "torch.distributed.run", *arguments, seconds=seconds)


def run_command(
    *command: str, seconds: float = 90, cwd: Path = _ROOT
) -> subprocess.CompletedProcess:
    """Run a command; standard output and error come back together."""
    process = start_command(*command, cwd=cwd)
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"{command} was not done after {seconds} s") from None
    finally:
        kill_tree(process)
    return subprocess.CompletedProcess(command, process.returncode, output)


def start_command(
    *command: str, cwd: Path = _ROOT, environment: dict[str, str] | None = None
) -> subprocess.Popen:
    """Start a command in a session of its own, with these variables beside the others."""
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def kill_tree(process: subprocess.Popen) -> None:
    """Kill a command and all that it started; torchrun gives every rank a session of its own."""
    for pid in [process.pid, *descendants(process.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    try:
        children = [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except FileNotFoundError:
        return []
    return children + [grandchild for child in children for grandchild in descendants(child)]


def same_tensors(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two models have the same, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def free_port() -> int:
    """A TCP port that nobody uses, below those that the kernel gives to whoever asks for any."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port
