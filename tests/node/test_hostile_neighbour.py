"""A neighbour in a pipeline runs no code, whatever it has torch ask for and answers."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("shield", ["stage", "guard"])
@pytest.mark.parametrize("liar", [0, 1])
def test_what_a_neighbour_sends_is_never_unpickled(tmp_path, liar, shield):
    canary = tmp_path / "canary"
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.node.hostile_neighbour",
                str(rank),
                str(tmp_path / "store"),
                str(liar),
                str(canary),
                shield,
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = processes[1 - liar].communicate(timeout=60)[0]
    finally:
        for process in processes:
            process.kill()
    assert not canary.exists()
    assert "Error" in said  # the step has failed: the liar was there
