"""A Slurm of one's own: munged, slurmctld and a few slurmd on this machine, without systemd, as
root."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.jobs import free_port, kill_tree

_PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "scontrol")
_CONF = """
ClusterName=tdml
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
ReturnToService=2
SelectType=select/linear
SchedulerParameters=sched_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=60
{nodes}
PartitionName=low Nodes=ALL Default=YES PriorityTier=1
PartitionName=high Nodes=ALL PriorityTier=9
"""
_NODE = "NodeName=n{number} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=2"


class Slurm:
    """The daemons; stop them. Skips where they are missing or this is not root."""

    def __init__(self, folder: Path, nodes: int) -> None:
        missing = [name for name in _PROGRAMS if not shutil.which(name)]
        if missing or os.geteuid():
            pytest.skip(f"no Slurm here: {', '.join(missing) or 'only root may start it'}")
        self._folder, self._daemons = folder, []
        (folder / "state").mkdir()
        lines = [_NODE.format(number=n, port=free_port()) for n in range(1, nodes + 1)]
        conf = _CONF.format(
            host=socket.gethostname(), port=free_port(), folder=folder, nodes="\n".join(lines)
        )
        (folder / "slurm.conf").write_text(conf)
        self._environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        key = folder / "munge.key"
        subprocess.run(["mungekey", "--create", f"--keyfile={key}"], check=True)
        self._start(
            "munged",
            "--foreground",
            "--force",
            f"--key-file={key}",
            f"--socket={folder}/munge.socket",
            f"--pid-file={folder}/munged.pid",
            f"--log-file={folder}/munged.log",
            f"--seed-file={folder}/munged.seed",
        )
        self._start("slurmctld", "-D")
        for number in range(1, nodes + 1):
            self._start("slurmd", "-D", "-N", f"n{number}")
        self.wait(lambda: self.must("sinfo", "-h", "-o", "%D %t") == f"{nodes} idle", 60)

    def must(self, *command: str) -> str:
        """What a command says that must succeed."""
        done = self._run(*command)
        assert done.returncode == 0, done.stdout
        return done.stdout.strip()

    def _run(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            command,
            check=False,
            env=self._environment,
            timeout=60,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def facts(self, job: str) -> dict[str, str]:
        """What Slurm knows of a job."""
        words = self.must("scontrol", "show", "job", "-o", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait(self, condition: Callable[[], object], seconds: float) -> None:
        """Until a condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.5)

    def logs(self) -> str:
        """The ends of what the daemons and the jobs have written."""
        return "\n".join(
            f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}"
            for log in sorted(self._folder.glob("*.log"))
        )

    def stop(self) -> None:
        """End all jobs and daemons, and what daemons have started in sessions of its own."""
        for daemon in reversed(self._daemons):
            kill_tree(daemon)
        for pid in self._started_from_here():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _started_from_here(self) -> list[int]:
        """Processes that have this Slurm's configuration in their environment."""
        found, ours = [], f"SLURM_CONF={self._folder}/slurm.conf".encode()
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and ours in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    def _start(self, *command: str) -> None:
        with (self._folder / f"{command[0]}.out").open("a") as said:
            self._daemons.append(
                subprocess.Popen(
                    command,
                    env=self._environment,
                    start_new_session=True,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                )
            )
