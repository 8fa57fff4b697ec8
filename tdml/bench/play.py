"""Whole jobs, for what can be measured of them only."""

import subprocess
import sys
from collections.abc import Sequence


def play(overrides: Sequence[str]) -> int:
    """Run a job in processes of its own, as `tdml train` does; its exit status, for it says itself
    what is wrong."""
    return subprocess.run(
        [sys.executable, "-m", "tdml.cli", "train", *overrides], check=False
    ).returncode
