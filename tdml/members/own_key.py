"""The key of this process, among those that a machine keeps in `identity.folder`."""

import fcntl
import os
from pathlib import Path

from tdml.common.files import replace_file
from tdml.errors import SettingError, one_line
from tdml.protocol.identity import Identity


def node_identity(folder: str, first: int, step: int) -> Identity:
    """The key `node{first}`, unless another process is using it; then the next by `step` that is
    free.

    Several agents on one machine, and machines that share a home, thus never use one key twice at a
    time.

    Raises:
        SettingError: no key can be kept there.
    """
    slot = first
    while (lock := _reserve(folder, f"node{slot}")) is None:
        slot += step
    try:
        return named_identity(folder, f"node{slot}")
    except SettingError:
        os.close(lock)  # who tries again is told so again, and has no other key
        raise


def named_identity(folder: str, name: str) -> Identity:
    """The key of that name. Its public half is written beside it, for people to exchange.

    Raises:
        SettingError: no key can be kept there.
    """
    identity = Identity.load(folder, name)
    public = Path(folder).expanduser() / f"{name}.pub"
    try:
        if not public.exists() or public.read_text(encoding="utf-8").strip() != identity.public:
            replace_file(public, f"{identity.public}\n")
    except (OSError, ValueError) as error:
        raise SettingError(
            f"identity.folder={folder}: {public} cannot be kept: {one_line(error)}"
        ) from error
    return identity


def _reserve(folder: str, name: str) -> int | None:
    """Take a key until the file is closed that is returned; None if another process has it."""
    path = Path(folder).expanduser() / f"{name}.lock"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # the kernel frees the lock at our end
        lock = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError as error:
        raise SettingError(
            f"identity.folder={folder}: no key can be kept there: {one_line(error)}"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
