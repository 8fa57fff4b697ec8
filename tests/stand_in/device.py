"""Makes the stand-in known to torch, as the device "standin"."""

from pathlib import Path
from types import ModuleType

import torch
from torch.utils import cpp_extension

NAME = "standin"


def build(folder: Path) -> ModuleType:
    """Compile it (a minute), or load what is in the folder already."""
    source = Path(__file__).with_name("device.cpp")
    return cpp_extension.load(
        "standin_device", [str(source)], extra_cflags=["-O1"], build_directory=str(folder)
    )


def start(folder: Path) -> torch.device:
    """The device. From here on this process has it."""
    build(folder).start()
    torch.utils.rename_privateuse1_backend(NAME)
    module = ModuleType(f"torch.{NAME}")
    module.is_available = lambda: True
    module.device_count = lambda: 1
    module.current_device = lambda: 0
    module._is_in_bad_fork = lambda: False
    # What is random is drawn on the host.
    module.manual_seed_all = lambda seed: None
    module.get_rng_state = lambda device=None: torch.empty(0, dtype=torch.uint8)
    module.set_rng_state = lambda state, device=None: None
    torch._register_device_module(NAME, module)
    return torch.device(NAME, 0)
