"""Libraries that only some jobs need."""

import importlib
from types import ModuleType

from tdml.errors import SettingError


def library(name: str, extra: str, what: str) -> ModuleType:
    """The library of that name, which the extra of this package brings.

    Raises:
        SettingError: it is not installed; `what` needs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SettingError(
            f"{what} needs {name}, which is not installed: pip install 'tdml[{extra}]'"
        ) from error
