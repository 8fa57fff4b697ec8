"""Every rank starts here, under torchrun or forked by `tdml train`, and becomes coordinator, worker
or spare."""

import argparse
import os
import sys
from typing import NoReturn

from tdml.cluster.interruption import Interruption, end_with_parent

if __name__ == "__main__":
    end_with_parent()  # before anything that takes time

from tdml import config as settings
from tdml.config import Config
from tdml.errors import SettingError, fail, hush_torch, watch_warnings, write_any_text
from tdml.overrides import add_arguments, overrides_of


def main(arguments: list[str]) -> int:
    """Run a rank that torchrun has started; the exit status."""
    interruption = Interruption()
    write_any_text()
    hush_torch()
    watch_warnings(shown=os.environ.get("LOCAL_RANK", "0") == "0")
    try:
        config = settings.load(_overrides(arguments))
        if "WORLD_SIZE" not in os.environ:
            raise SettingError(
                "start this module with torchrun, or run `tdml train`, which does so"
            )
        settings.check_world(config.topology, int(os.environ["WORLD_SIZE"]))
    except SettingError as error:
        return fail(str(error))
    return take_part(config, interruption)


def take_part(config: Config, interruption: Interruption) -> int:
    """Be the rank that the environment names; the exit status."""
    # torch takes seconds to import: not before the settings are known to be sound.
    from tdml.cluster.interface import choose_interface
    from tdml.cluster.lobby import Lobby
    from tdml.cluster.topology import COORDINATOR

    choose_interface(os.environ["MASTER_ADDR"])
    lobby = Lobby(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if lobby.rank == COORDINATOR:
        from tdml.start_coordinator import (
            coordinate,
        )  # figures and TensorBoard, which workers need not import

        return coordinate(config, lobby, interruption)
    from tdml.start_worker import work

    return work(config, lobby, interruption)


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
