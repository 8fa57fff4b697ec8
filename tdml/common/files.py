"""Files that are never seen half written."""

import os
from collections.abc import Iterable
from pathlib import Path


def replace_file(path: Path, text: str) -> None:
    """Write a file, all of it or nothing: what was there stays until the new is on the disk.

    Raises:
        OSError: it cannot be written; names `path`.
    """
    try:
        # a path such as "." has no name
        write_whole(path, [text.encode()], path.parent / f".{path.name}.{os.getpid()}")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_whole(path: Path, parts: Iterable[bytes | memoryview], partial: Path) -> None:
    """As `replace_file`, of several parts, one after the other; the file is called `partial` until
    they are on the disk."""
    partial.unlink(missing_ok=True)  # of one that was killed; or a link, which a stranger has left
    try:
        with partial.open("xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
