"""A fault at one moment of a round, in one process of a test job. Named by `attack._target_`."""

import json
import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tdml.attacks import Attack, Gaussian
from tdml.node.worker import Worker
from tdml.round.engine import Engine
from tdml.round.recorder import Recorder
from tdml.run.coordinator import Coordinator
from tdml.run.keeping import Keeping
from tests.use import Use

_PAUSE_S = 5
_PHASES = ("train", "commit", "evaluate", "load")


class FailsAt(Attack):
    """Once, in a round and a phase of it: an order to the worker `node`, or, where that is
    "coordinator", a phase of the coordinator's round.

    `fault`: "kill", "stop", "pause" (for 5 s), "exception", "memory" or the path of a shell script
    that does something else. `marker` is a file that is written then.
    """

    def __init__(self, fault: str, phase: str, in_round: int, marker: str, node: str) -> None:
        self._fault, self._phase, self._in_round, self._node = fault, phase, in_round, node
        self._marker, self._round = Path(marker), 1
        is_coordinator = os.environ.get("RANK") == "0"
        if is_coordinator and node == "coordinator":
            self._watch_rounds()
        elif not is_coordinator:
            self._watch_orders()

    def _watch_orders(self) -> None:
        answer = Worker._answer

        def watched(worker: Worker, method: Callable[..., Any], arguments: tuple) -> Any:
            name = method.__name__
            if name == "train":
                self._round = arguments[0].round
            # what comes before the training of a round belongs to it
            round_ = self._round + (name in ("join", "load"))
            due = name == self._phase and round_ >= self._in_round
            if due and worker.node.name == self._node:
                return answer(worker, self._failing, (method, arguments))
            return answer(worker, method, arguments)

        Worker._answer = watched

    def _watch_rounds(self) -> None:
        phase = Engine.phase

        def watched(engine: Engine, name: str, number: int) -> AbstractContextManager[None]:
            if name == self._phase and number == self._in_round:
                self._fail()
            return phase(engine, name, number)

        Engine.phase = watched

    def _failing(self, method: Callable[..., Any], arguments: tuple) -> Any:
        self._fail()
        return method(*arguments)

    def _fail(self) -> None:
        if self._marker.exists():
            return
        self._marker.touch()
        match self._fault:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "pause":
                pause(os.getpid())
            case "exception":
                raise RuntimeError("planted failure")
            case "memory":
                _exhaust_memory()
            case script:
                subprocess.run(["sh", "-e", script], check=True)


class FailsOften(Attack):
    """In every third round an exception or a pause of a second, at random, in one of the orders to
    the node in whose process this is; it tells the coordinator's log which.

    In every `look`-th round each rank writes down what it holds, in `folder`.
    """

    def __init__(self, every: int, names: list[str], look: int, folder: str) -> None:
        self._every, self._names, self._round, self._done = every, names, 0, 0
        self._look, self._uses = look, Path(folder) / f"{os.environ.get('RANK')}.jsonl"
        if os.environ.get("RANK") == "0":
            self._watch_rounds()
        else:
            self._watch_orders()

    def _watch_rounds(self) -> None:
        phase = Engine.phase

        def watched(engine: Engine, name: str, number: int) -> AbstractContextManager[None]:
            if name == "broadcast" and number > self._round:
                self._begin(number)
            return phase(engine, name, number)

        Engine.phase = watched

    def _watch_orders(self) -> None:
        answer = Worker._answer

        def watched(worker: Worker, method: Callable[..., Any], arguments: tuple) -> Any:
            if method.__name__ == "train":
                self._begin(arguments[0].round)
            if worker.node.name not in self._names:
                return answer(worker, method, arguments)
            return answer(worker, self._tempted, (method, arguments))

        Worker._answer = watched

    def _begin(self, number: int) -> None:
        self._round = number
        if number % self._look == 0:
            with self._uses.open("a") as file:
                file.write(json.dumps({"round": number} | asdict(Use.now())) + "\n")

    def _tempted(self, method: Callable[..., Any], arguments: tuple) -> Any:
        draw = random.Random(self._round)
        phase, fault = draw.choice(_PHASES), draw.choice(("exception", "pause"))
        due = self._round % self._every == 0 and self._done < self._round
        if due and method.__name__ == phase:
            self._done = self._round
            if fault == "exception":
                raise RuntimeError("planted failure")
            time.sleep(1)
        return method(*arguments)


def pause(pid: int) -> None:
    """Stop a process for some seconds."""
    subprocess.Popen(["sh", "-c", f"sleep {_PAUSE_S}; kill -CONT {pid}"])
    os.kill(pid, signal.SIGSTOP)


def _exhaust_memory() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**20, before[1]))
    try:
        torch.zeros(2**28)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


class DiesGoingBack(Gaussian):
    """A liar, and a coordinator that is killed once, as it is about to take out what it had put in.
    `marker` is a file that is written then."""

    def __init__(self, std: float, marker: str) -> None:
        super().__init__(std)
        _kill_once_before(
            Coordinator, "_go_back", marker, lambda coordinator, _: _saved(coordinator)
        )


class DiesOfABan(Gaussian):
    """A liar, and a coordinator that is killed once, when it has banned that and has not recorded
    it yet. `marker` is a file that is written then."""

    def __init__(self, std: float, marker: str) -> None:
        super().__init__(std)
        _kill_once_before(
            Coordinator, "_record", marker, lambda c, played: played.bans and _saved(c)
        )


class DiesAfterABan(Gaussian):
    """A liar, and a coordinator that is killed once, when the ledger has a ban, and no checkpoint
    has it. `marker` is a file that is written then."""

    def __init__(self, std: float, marker: str) -> None:
        super().__init__(std)
        _kill_once_before(Keeping, "checkpoint", marker, lambda keeping, *_: keeping._fleet.banned)


class DiesRollingBack(Gaussian):
    """A liar, and a coordinator that is killed once, when the checkpoint has gone back, and the
    ledger has not. `marker` is a file that is written then."""

    def __init__(self, std: float, marker: str) -> None:
        super().__init__(std)
        _kill_once_before(Recorder, "roll_back", marker, lambda *_: True)


def _kill_once_before(owner: type, method: str, marker: str, when: Callable[..., object]) -> None:
    """Have this process killed where it would call a method, if `when` says so of its arguments."""
    call, written = getattr(owner, method), Path(marker)

    def dies(*arguments: Any) -> None:
        if not written.exists() and when(*arguments):
            written.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        call(*arguments)

    setattr(owner, method, dies)


def _saved(coordinator: Coordinator) -> bool:
    """Whether its last checkpoint is on the disk, which is waited for."""
    coordinator.keeping.finish()
    return True
