"""Files that are never seen half written."""

import os
from pathlib import Path


def replace_file(path: Path, text: str) -> None:
    """Write a file, all of it or nothing: what was there stays until the new is on the disk.

    Raises:
        OSError: it cannot be written; names `path`.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)
