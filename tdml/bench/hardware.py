"""The hardware, and the versions of the software, that something was measured on."""

import os
import platform
from typing import Any

import torch

from tdml.bench.versions import version
from tdml.node import devices

_PACKAGES = ("torch", "torchvision", "triton", "numba", "numpy", "scipy", "byzfl")


def describe(device: torch.device | None = None) -> dict[str, Any]:
    """Hardware and versions, for JSON; `device` is what was computed on, by default what a job
    would choose."""
    device = devices.choose_device("auto", 0, 1).device if device is None else device
    return {
        "device": device.type,
        "kind": devices.machine_kind(device),
        "gpu": gpu(),
        "gpus": torch.cuda.device_count(),
        "processor": processors(),
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "cuda": torch.version.cuda,
        "versions": {package: version(package) for package in _PACKAGES},
    }


def gpu() -> str | None:
    """The name of the first GPU, None where there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def processors() -> str:
    """The processors' name and number."""
    return f"{devices.processor()}, {os.cpu_count()} processors"
