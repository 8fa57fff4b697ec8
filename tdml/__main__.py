"""Every rank starts here, under torchrun or forked by `tdml train`, and becomes coordinator, worker
or spare."""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # the current folder, whose files are seen later: `config.see_own_classes`

import argparse
import os
import signal

from tdml.common.environment import fix_environment
from tdml.run.interruption import Interruption, end_with_parent

if __name__ == "__main__":
    # before anything that takes time
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # without a stack trace
    end_with_parent()
    fix_environment()

from tdml import config as settings
from tdml.errors import SettingError, fail, hush_torch, watch_warnings, write_any_text
from tdml.run.rank import leave_with, take_part
from tdml.settings.overrides import add_arguments, overrides_of

# What torchrun tells every rank.
_VARIABLES = ("WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def main(arguments: list[str]) -> int:
    """Run a rank that torchrun has started; the exit status."""
    interruption = Interruption()
    write_any_text()
    hush_torch()
    watch_warnings(shown=os.environ.get("LOCAL_RANK", "0") == "0")
    try:
        _check_variables()
        settings.see_own_classes()
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


def _overrides(arguments: list[str]) -> list[str]:
    parser = argparse.ArgumentParser(prog="python -m tdml", add_help=False, allow_abbrev=False)
    add_arguments(parser)
    return overrides_of(*parser.parse_known_args(arguments))


if __name__ == "__main__":
    leave_with(main(sys.argv[1:]))
