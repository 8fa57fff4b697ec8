"""What is not safe when several threads do it first at the same moment, tried in a process that may
die of it."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_AGAIN = """
import sys
from {module} import {name}
from tests.wire.threads import together

sys.setswitchinterval(1e-6)
for _ in range(400):
    together({name}())
"""


def together(action: Callable[[], object]) -> None:
    """Have four threads do it at once."""
    start = threading.Barrier(4)
    threads = [threading.Thread(target=lambda: (start.wait(), action())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def assert_survived(make: Callable[[], Callable[[], object]]) -> None:
    """A process lives through 400 first times of what a function of a module makes anew each
    time."""
    script = _AGAIN.format(module=make.__module__, name=make.__name__)
    subprocess.run([sys.executable, "-c", script], cwd=_ROOT, check=True, timeout=120)
