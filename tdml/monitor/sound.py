"""Run folders are anybody's: what goes wrong as one is read is said in a line that names it."""

from collections.abc import Iterator
from contextlib import contextmanager

from tdml.errors import SettingError, one_line


@contextmanager
def sound(what: object) -> Iterator[None]:
    """What a run has left is read, or shown.

    Raises:
        SettingError: it is not what a run writes, whatever that leads to.
    """
    try:
        yield
    except SettingError:
        raise
    except Exception as error:
        why = one_line(repr(error))[:200]
        raise SettingError(
            f"{what} is damaged: put back a copy of it, or leave the run out ({why})"
        ) from error
