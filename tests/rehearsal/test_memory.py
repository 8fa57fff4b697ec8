"""What a job takes on the coordinator before it starts, which docs/audit.md has."""

import subprocess
import sys

_RUN = """
import re
from pathlib import Path
from tdml import config as settings
from tdml.data.source import load_source
from tdml.run.prepare import prepare

def peak():
    # getrusage has the peak of the process, too, that this one was forked from
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 2**10

def made_ready(hidden):
    config = settings.load([
        "data.size=8", "model=mlp", "model.features=192", f"model.hidden={hidden}", "train=adamw",
        "topology.replicas=1", "topology.stages=2", "train.batch_size=4", "device=cpu",
    ])
    return prepare(config, load_source(config), checkpoint=None)

made_ready(hidden=8)  # what libraries take when they are first used, which is another elsewhere
before = peak()
job = made_ready(hidden=4000)
print((peak() - before) / sum(4 * p.numel() for p in job.model.parameters()))
"""


def test_a_job_is_made_ready_in_the_memory_of_ten_models() -> None:
    done = subprocess.run([sys.executable, "-c", _RUN], capture_output=True, text=True, check=True)
    # seven, and what matrix products take beside their operands: nearly two on some processors
    assert 5 < float(done.stdout) < 10, done.stdout
