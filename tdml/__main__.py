"""Every rank starts here, under torchrun or forked by `tdml train`, and becomes coordinator, worker
or spare."""

import argparse
import os
import signal
import socket
import sys
from typing import NoReturn

from tdml.common.environment import fix_environment
from tdml.run.interruption import Interruption, end_with_parent

if __name__ == "__main__":
    # before anything that takes time
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # without a stack trace
    end_with_parent()
    fix_environment()

from tdml import config as settings
from tdml.config import Config
from tdml.errors import SettingError, fail, hush_torch, one_line, watch_warnings, write_any_text
from tdml.settings.overrides import add_arguments, overrides_of

# What torchrun tells every rank.
_VARIABLES = ("WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_LONGEST = 200  # characters of an error of torch's


def main(arguments: list[str]) -> int:
    """Run a rank that torchrun has started; the exit status."""
    interruption = Interruption()
    write_any_text()
    hush_torch()
    watch_warnings(shown=os.environ.get("LOCAL_RANK", "0") == "0")
    try:
        _check_variables()
        config = settings.load(_overrides(arguments))
        settings.check_world(config.topology, int(os.environ["WORLD_SIZE"]), bool(config.resume))
    except SettingError as error:
        return fail(str(error))
    return take_part(config, interruption)


def _check_variables() -> None:
    """Check that somebody has told this rank who it is.

    Raises:
        SettingError: nobody has.
    """
    for name in _VARIABLES:
        value = os.environ.get(name, "")
        if not value or (name != "MASTER_ADDR" and not value.isdecimal()):
            raise SettingError(
                "start this module with torchrun, or run `tdml train`, which does so: the "
                f"environment has {f'{name}={value}' if value else f'no {name}'}"
            )
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if rank >= size:
        raise SettingError(f"RANK={rank} must be less than WORLD_SIZE={size}")
    if not 0 < (port := int(os.environ["MASTER_PORT"])) < 1 << 16:
        raise SettingError(f"MASTER_PORT={port} must be from 1 to 65535")


def take_part(config: Config, interruption: Interruption) -> int:
    """Be the rank that the environment names; the exit status."""
    # torch takes seconds to import: not before the settings are known to be sound.
    from torch import distributed as dist

    from tdml.members.rendezvous import Rendezvous
    from tdml.members.topology import COORDINATOR
    from tdml.wire.interface import choose_interface

    choose_interface(os.environ["MASTER_ADDR"])
    try:
        rendezvous = Rendezvous(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    except dist.DistError as error:
        address = "MASTER_ADDR={MASTER_ADDR}, MASTER_PORT={MASTER_PORT}".format_map(os.environ)
        return fail(f"{address}: the ranks cannot meet there: {one_line(error)[:_LONGEST]}")
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
        print(f"no host is known as {host}: {one_line(error)}", flush=True)
    choose_interface(host)
    patience = config.sync.patience
    print(f"looking for the job at {address} (sync.patience={patience:g} s)", flush=True)
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
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _overrides(arguments: list[str]) -> list[str]:
    parser = argparse.ArgumentParser(prog="python -m tdml", add_help=False, allow_abbrev=False)
    add_arguments(parser)
    return overrides_of(*parser.parse_known_args(arguments))


if __name__ == "__main__":
    leave_with(main(sys.argv[1:]))
