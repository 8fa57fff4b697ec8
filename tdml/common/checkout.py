"""Which commit of TDML runs, where it is a checkout."""

import os
import shutil
import subprocess
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def commit() -> str | None:
    """What the variable COMMIT says, else what is checked out, if this is a checkout."""
    if named := os.environ.get("COMMIT"):
        return named
    if shutil.which("git") is None:
        return None
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    described = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    return described.stdout.strip() or None
