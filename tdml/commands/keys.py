"""`tdml keys`: this machine's public keys, made where there are none, so that a roster can be
written beforehand."""

import argparse

from tdml.errors import SettingError
from tdml.members.own_key import named_identity
from tdml.members.roster import COORDINATOR_NAME

_FOLDER = "~/.tdml/keys"


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `keys` to the commands of `tdml`."""
    keys = commands.add_parser(
        "keys", help="this machine's public keys, for identity.roster; makes those that are missing"
    )
    keys.add_argument(
        "--nodes",
        type=int,
        default=1,
        metavar="K",
        help="processes of workers on this machine: %(default)s",
    )
    keys.add_argument("--coordinator", action="store_true", help="the coordinator runs here, too")
    keys.add_argument("--folder", default=_FOLDER, help="identity.folder: %(default)s")
    keys.set_defaults(command=_keys)


def _keys(parsed: argparse.Namespace) -> int:
    if parsed.nodes < 1:
        raise SettingError(f"--nodes={parsed.nodes} must be at least 1")
    if not parsed.folder.strip():  # a variable of the shell that is not set
        raise SettingError("--folder is empty: give one, or leave it out")
    first = 1 if parsed.coordinator else 0  # a machine's local ranks; the coordinator's is 0
    names = [COORDINATOR_NAME] * parsed.coordinator + [
        f"node{first + k}" for k in range(parsed.nodes)
    ]
    for name in names:
        print(f'{name}: "{named_identity(parsed.folder, name).public}"')
    return 0
