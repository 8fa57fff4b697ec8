"""Libraries that are imported after the user's files can be: those that only some jobs need, and
others."""

import importlib
import os
import sys
from types import ModuleType

from tdml.errors import SettingError


def library(name: str, extra: str, what: str) -> ModuleType:
    """The library of that name, which the extra of this package brings.

    Raises:
        SettingError: it is not installed, or hidden; `what` needs it.
    """
    check_not_hidden(name.partition(".")[0])
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SettingError(
            f"{what} needs {name}, which is not installed: pip install 'tdml[{extra}]'"
        ) from error


def check_not_hidden(name: str) -> None:
    """Raises SettingError: a file in the current folder would be imported in a library's place."""
    if "" not in sys.path:  # nothing is imported from the current folder
        return
    for file in (f"{name}.py", os.path.join(name, "__init__.py")):
        if os.path.isfile(file):
            raise SettingError(
                f"{os.path.abspath(file)} has the name of the library {name}, and would be "
                "imported in its place: give it another name, or start in another folder"
            )
