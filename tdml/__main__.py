"""Every rank starts here, under torchrun: check the settings, then become coordinator, worker or spare."""

import argparse
import os
import sys
from pathlib import Path

from tdml.cluster.interruption import Interruption, end_with_parent

if __name__ == "__main__":
    end_with_parent()  # before anything that takes time

from tdml import config as settings
from tdml.errors import SettingError, fail, watch_warnings, write_any_text
from tdml.overrides import add_arguments, overrides_of


def main(arguments: list[str]) -> int:
    """Run this rank; the exit status."""
    interruption = Interruption()
    write_any_text()
    # TensorPipe logs every lost connection and every refused call from C++. The coordinator reports each loss once.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    parsed, more = _parser().parse_known_args(arguments)
    # `tdml train` has shown its user all that the libraries warn of.
    watch_warnings(shown=parsed.settings is None and os.environ.get("LOCAL_RANK", "0") == "0")
    try:
        config = settings.read(parsed.settings) if parsed.settings else settings.load(overrides_of(parsed, more))
        if "WORLD_SIZE" not in os.environ:
            raise SettingError("start this module with torchrun, or run `tdml train`, which does so")
        settings.check_world(config.topology, int(os.environ["WORLD_SIZE"]))
    except SettingError as error:
        return fail(str(error))
    # torch takes seconds to import: not before the settings are known to be sound.
    from tdml.cluster.interface import choose_interface
    from tdml.cluster.lobby import Lobby
    from tdml.cluster.topology import COORDINATOR

    choose_interface(os.environ["MASTER_ADDR"])
    lobby = Lobby(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if lobby.rank == COORDINATOR:
        from tdml.start_coordinator import coordinate  # figures and TensorBoard, which workers need not import

        return coordinate(config, lobby, interruption)
    from tdml.start_worker import work

    return work(config, lobby, interruption)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tdml", add_help=False, allow_abbrev=False)
    parser.add_argument("--settings", type=Path, help="a file that `tdml train` has written, instead of overrides")
    add_arguments(parser)
    return parser


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # threads that still wait for a lost peer must not hold up the end
