"""What a notebook uses."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import tdml
from tdml.errors import SettingError


def test_settings_are_loaded_and_mistakes_are_named() -> None:
    assert tdml.load("topology.replicas=3", "model=mlp").topology.replicas == 3
    with pytest.raises(SettingError, match="replicsa"):
        tdml.load("topology.replicsa=3")


@pytest.mark.parametrize("call", [tdml.load, tdml.train])
def test_a_list_of_settings_is_the_users_mistake(call) -> None:
    with pytest.raises(SettingError, match=r"^\['rounds=5'\] is no setting: .* star: \*settings$"):
        call(["rounds=5"])


def test_the_trust_functions_are_where_they_are_said_to_be() -> None:
    from tdml.trust import mandera, rank_moments, screen

    assert all(map(callable, (mandera, rank_moments, screen)))


def test_a_notebook_has_all_from_one_import() -> None:
    """In a process of its own: here others have imported most of it."""
    script = "import tdml; print(tdml.trust.screen.__name__, tdml.attacks.Attack.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "screen Attack\n"


def test_a_job_may_be_played_beside_the_main_thread() -> None:
    """As widgets of a notebook do, and schedulers."""
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(tdml.train, "rounds=none").result() == 1


def test_a_program_that_ends_ends_a_job_that_a_daemon_thread_waits_for(tmp_path: Path) -> None:
    job = tmp_path / "job"  # in the place of Python
    job.write_text("#!/bin/bash\ntrap 'touch ended; exit' TERM\ntouch begun\nsleep 60 & wait\n")
    job.chmod(0o755)
    script = f"""
import sys, threading, time, pathlib, tdml
sys.executable = {str(job)!r}
threading.Thread(target=tdml.train, daemon=True).start()
while not pathlib.Path("begun").exists(): time.sleep(0.01)
time.sleep(0.5)  # until the thread knows that it has begun
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, timeout=60, check=True)
    deadline = time.monotonic() + 20
    while not (tmp_path / "ended").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_a_job_is_played_and_read(tmp_path: Path) -> None:
    job = ["model=mlp", "topology.replicas=1", "topology.stages=1", "sync.local_steps=2"]
    keys = f"identity.folder={tmp_path / 'keys'}"
    assert tdml.train(*job, "rounds=2", f"run_dir={tmp_path / 'run'}", keys) == 0
    history = tdml.read(tmp_path / "run")
    assert history.ended and [line.round for line in history.rounds] == [1, 2]
    with pytest.raises(SettingError, match="is no run"):
        tdml.read(str(tmp_path / "keys"))
