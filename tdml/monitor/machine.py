"""The machine that a job's coordinator runs on, in a few words, so that times can be compared."""

import os
import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec
import torch

from tdml.common.files import replace_file
from tdml.node.devices import processor

_FILE = "machines.json"


@dataclass(frozen=True)
class Machine:
    """What decides how fast the rounds from `first_round` on are."""

    first_round: int
    processor: str
    cores: int
    instructions: str
    gpus: list[str]
    torch: str
    python: str

    @property
    def words(self) -> str:
        """In one line."""
        where = ", ".join(self.gpus) or f"{self.processor}, {self.cores} cores, {self.instructions}"
        return f"{where}, torch {self.torch}"


def this_machine(first_round: int) -> Machine:
    """The one that this process runs on."""
    return Machine(
        first_round,
        processor(),
        os.cpu_count() or 1,
        torch.backends.cpu.get_cpu_capability(),
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        str(torch.__version__),
        platform.python_version(),
    )


def note(run: Path, machine: Machine) -> None:
    """Say in the run folder where its rounds from `machine.first_round` on are played, if that is
    elsewhere."""
    known = [each for each in read(run) if each.first_round < machine.first_round]
    if not known or replace(known[-1], first_round=machine.first_round) != machine:
        known.append(machine)
    text = msgspec.json.format(msgspec.json.encode([asdict(each) for each in known]))
    replace_file(run / _FILE, text.decode() + "\n")


def read(run: Path) -> list[Machine]:
    """Where the rounds of a run were played.

    Raises:
        ValueError: the file is damaged.
    """
    path = run / _FILE
    return msgspec.json.decode(path.read_bytes(), type=list[Machine]) if path.is_file() else []
