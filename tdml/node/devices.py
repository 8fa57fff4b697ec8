"""Which device a worker computes on, and how the stages of a replica are connected."""

import os
import platform
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from tdml.errors import SettingError

_THREADS = re.compile(r", (\d{1,3}) threads$")  # at the end of a kind of machine


@dataclass(frozen=True)
class Device:
    """`own` is true if no other rank that this agent has started computes on this GPU."""

    device: torch.device
    own: bool


def choose_device(setting: str, local_worker: int, local_workers: int) -> Device:
    """The device of the `local_worker`-th of `local_workers` workers on this machine.

    Raises:
        SettingError: `device=cuda` without a GPU.
    """
    gpus = 0 if setting == "cpu" else torch.cuda.device_count()
    if gpus == 0:
        if setting == "cuda":
            raise SettingError(
                "device=cuda, but torch sees no GPU on this machine: set device=auto or device=cpu"
            )
        return Device(torch.device("cpu"), own=False)
    return Device(torch.device("cuda", local_worker % gpus), own=local_workers <= gpus)


def check_precision(precision: str, device: torch.device) -> None:
    """
    Raises:
        SettingError: the device cannot compute so.
    """
    if precision != "bf16" or device.type != "cuda":
        return
    with torch.cuda.device(device):
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            name = torch.cuda.get_device_name(device)
            raise SettingError(
                f"train.precision=bf16, but {name} has no bfloat16: set train.precision=fp32"
            )


def own_gpu(device: Device) -> str:
    """The name that this GPU alone has, on whatever machine; "" where a rank has none of its
    own."""
    return str(torch.cuda.get_device_properties(device.device).uuid) if device.own else ""


def border_device(device: torch.device, backend: str) -> torch.device:
    """Where tensors lie when they cross from stage to stage: gloo moves host memory only."""
    return device if backend == "nccl" else torch.device("cpu")


def make_repeatable() -> None:
    """Have torch choose kernels that give the same bits every time, so that an audit finds the same
    steps again; and compute in float32 what is float32.

    To be called before a GPU is first used. Where torch has no such kernel it warns once, and
    audits of that model are only as sharp as its machines repeat each other.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs for it
    torch.backends.cudnn.benchmark = False
    # rounds to 10 bits, beyond which a coordinator without a GPU could tell no lie from rounding
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Of use to debuggers only. torch's stubs lack it.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def machine_kind(device: torch.device) -> str:
    """What decides the bits of a result: software, hardware and threads. Equal kinds repeat each
    other's steps."""
    if device.type == "cuda":
        return f"torch {torch.__version__}, {torch.cuda.get_device_name(device)}"
    capability = torch.backends.cpu.get_cpu_capability()
    return (
        f"torch {torch.__version__}, {processor()} {capability}, {torch.get_num_threads()} threads"
    )


def usual_threads(kinds: Iterable[str]) -> int | None:
    """The number of threads that most of these kinds of machines compute with, GPUs aside; None if
    no number has a majority: else two liars could choose it where all others differ."""
    threads = [int(match[1]) for kind in kinds if (match := _THREADS.search(kind))]
    usual = Counter(threads).most_common(1)
    return next((number for number, count in usual if 2 * count > len(threads)), None)


def processor() -> str:
    """The name of this machine's processor."""
    information = Path("/proc/cpuinfo")
    match = (
        re.search(r"model name\s*: (.*)", information.read_text()) if information.exists() else None
    )
    return match[1] if match else platform.processor()
