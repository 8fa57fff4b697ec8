"""Whether the nodes that begin on this machine have room on it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from tdml.errors import SettingError
from tdml.members.waiting import listed
from tdml.node.devices import choose_device
from tdml.node.memory import Need
from tdml.protocol.names import first_slot, slot_name
from tdml.settings.schema import Config

_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # of control groups, versions 2 and 1
_ADVICE = (
    "start nodes on other machines, or take smaller micro-batches (topology.microbatches), more "
    "stages, or train.activation_checkpointing=true"
)


def in_words(needs: Sequence[Need]) -> str:
    """What the nodes of every replica need, in one line."""
    told = [f"r*.s{stage} {_size(need.total)}" for stage, need in enumerate(needs)]
    return f"memory that nodes need, beside Python and torch: {listed(told)}"


def check_room(config: Config, needs: Sequence[Need]) -> None:
    """The nodes that the coordinator's agent has started, by `needs` of their stages.

    Raises:
        SettingError: they need more memory than this machine, or one of its GPUs, has.
    """
    ranks = range(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    slots = {rank: slot for rank in ranks if (slot := first_slot(rank, config.topology))}
    host: dict[str, int] = {}
    gpus: dict[int, dict[str, int]] = {}
    for rank, slot in slots.items():
        device = choose_device(config.device, rank - 1, len(ranks)).device
        name, need = slot_name(slot), needs[slot.stage]
        on_gpu = device.type == "cuda"
        host[name] = need.host if on_gpu else need.total
        if on_gpu:
            gpus.setdefault(device.index, {})[name] = need.device
    check_fits(host, machine_memory(), "this machine")
    for index, there in gpus.items():
        check_fits(there, torch.cuda.get_device_properties(index).total_memory, f"GPU {index}")


def check_fits(needs: Mapping[str, int], room: int, where: str) -> None:
    """
    Args:
        needs: in bytes, by node.

    Raises:
        SettingError: their sum is more than the room.
    """
    total = sum(needs.values())
    if total > room:
        largest = max(needs, key=lambda name: needs[name])
        raise SettingError(
            f"{largest} needs {_size(needs[largest])}, and all {len(needs)} nodes on {where} "
            f"{_size(total)} beside Python and torch, but it has {_size(room)}: {_ADVICE}"
        )


def machine_memory() -> int:
    """Bytes that this machine has, or this container may use."""
    has = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    files = [Path("/sys/fs/cgroup") / name for name in _LIMITS]
    limits = [file.read_text().strip() for file in files if file.is_file()]
    return min([has, *(int(limit) for limit in limits if limit.isdigit())])


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{-(-count // 2**20)} MiB"
