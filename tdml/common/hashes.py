"""Python's hashes of texts, which decide the order in which a set is walked."""

import os
import sys

_VARIABLE = "PYTHONHASHSEED"


def fix_hashes() -> None:
    """Start this program anew, in this process, unless its hashes are those of all others of a job:
    Python draws them at its start, and a model that adds up branches in the order of a set would
    compute something else on every node. To be called before anything that takes time."""
    if os.environ.get(_VARIABLE) != "0":
        os.environ[_VARIABLE] = "0"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
