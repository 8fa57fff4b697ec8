"""A process becomes coordinator, worker or spare: as a rank that torchrun or `tdml train` has
started, or by `tdml join`."""

import os
import socket
import sys
from contextlib import suppress
from typing import NoReturn

from tdml import config as settings
from tdml.errors import SettingError, fail, hush_torch, one_line, say
from tdml.run.interruption import Interruption
from tdml.settings.schema import Config

_LONGEST = 200  # characters of an error of torch's


def take_part(config: Config, interruption: Interruption) -> int:
    """Be the rank that the environment names; the exit status."""
    # torch takes seconds to import: not before the settings are known to be sound.
    from torch import distributed as dist

    from tdml.members.rendezvous import Rendezvous
    from tdml.protocol.names import COORDINATOR
    from tdml.wire.interface import choose_interface

    choose_interface(os.environ["MASTER_ADDR"])
    try:
        rendezvous = Rendezvous(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    except dist.DistError as error:
        address = "MASTER_ADDR={MASTER_ADDR}, MASTER_PORT={MASTER_PORT}".format_map(os.environ)
        taken = "another process has that port: choose another"
        why = taken if "EADDRINUSE" in str(error) else one_line(error)[:_LONGEST]
        return fail(f"{address}: the ranks cannot meet there: {why}")
    if rendezvous.rank == COORDINATOR:
        # figures and TensorBoard, which workers need not import
        from tdml.run.start_coordinator import coordinate

        return coordinate(config, rendezvous, interruption)
    from tdml.run.start_worker import work

    return work(config, rendezvous, interruption)


def join(address: str, overrides: list[str], interruption: Interruption) -> int:
    """Be a node of a job that others have started; the exit status.

    Args:
        address: HOST:PORT of the job's store.

    Raises:
        SettingError: the address or a setting cannot be right.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")  # of IPv6
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise SettingError(f"{address} is no HOST:PORT, which the job's first lines say")
    hush_torch()
    config = settings.load(overrides)
    os.environ |= {
        "MASTER_ADDR": host, "MASTER_PORT": port, "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1",
    }  # fmt: skip
    from torch import distributed as dist

    from tdml.members.rendezvous import Rendezvous
    from tdml.wire.interface import choose_interface

    try:
        socket.getaddrinfo(host, int(port))
    except UnicodeError:
        raise SettingError(f"{address}: that can be no host's name") from None
    except OSError as error:  # it may be known when its machine is up
        say(f"no host is known as {host}: {one_line(error)}")
    choose_interface(host)
    patience = config.sync.patience
    say(f"looking for the job at {address} (sync.patience={patience:g} s)")
    try:
        rendezvous = Rendezvous(None, 0, patience)
    except dist.DistError:
        raise SettingError(
            f"no job answers at {address} within sync.patience={patience:g} s: its first lines "
            "say where its nodes meet"
        ) from None
    from tdml.run.start_worker import work

    return work(config, rendezvous, interruption)


def leave_with(status: int) -> NoReturn:
    """End this process at once: threads that still wait for a lost peer must not hold that up."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nobody reads any more
            stream.flush()
    os._exit(status)
