"""`launch/gpu.sh`, on a processor: what it runs and skips, and what it keeps."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.jobs import kill_tree
from tests.monitor.run_folders import leave_run

ROOT = Path(__file__).resolve().parents[1]
STUB = """#!/bin/bash
# The interpreter, but for what would take long.
case "$*" in
    "-c import triton") ;;
    "-m pytest "*) echo "7 passed" ;;
    "-m tdml.cli bench ranking "*) [ ! -e {plan}/fail ] || { echo "planted failure"; exit 3; }
        [ ! -e {plan}/wait ] || { echo "it begins"; sleep 100; }
        while [ "$1" != --json ]; do shift; done
        echo '{"times": 2.5}' > "$2"; echo "2.5 x reading" ;;
    "-m tdml.cli paper "*) ;;
    *) exec {python} "$@" ;;
esac
"""


class Desk:
    """Where someone sits who calls the script."""

    def __init__(self, folder: Path, stub: str | None = STUB) -> None:
        self.folder, self._python = folder, Path(sys.executable)
        if stub is not None:
            self._python = folder / "python"
            plan, real = shlex.quote(str(folder)), shlex.quote(sys.executable)
            self._python.write_text(stub.replace("{plan}", plan).replace("{python}", real))
            self._python.chmod(0o755)

    def start(self, *checks: str, minutes: int, **variables: str) -> subprocess.Popen:
        chosen = {
            "PYTHON": str(self._python),
            "RUNS": str(self.folder / "runs"),
            "MINUTES": str(minutes),
            **variables,
        }
        return subprocess.Popen(
            ["bash", ROOT / "launch" / "gpu.sh", *checks],
            env=os.environ | chosen,
            cwd=self.folder,
            text=True,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def call(
        self, *checks: str, minutes: int, seconds: float = 90, **variables: str
    ) -> tuple[int, list[str]]:
        """The exit status, and what it has said."""
        process = self.start(*checks, minutes=minutes, **variables)
        try:
            said, _ = process.communicate(timeout=seconds)
        finally:
            kill_tree(process)
        return process.returncode, said.splitlines()

    def kept(self, check: str) -> dict:
        return json.loads((self.folder / "runs" / "cpu" / f"{check}.json").read_text())


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return Desk(tmp_path)


@pytest.mark.slow
def test_a_failure_is_kept_the_rest_goes_on_and_only_what_is_done_is_skipped(desk):
    (desk.folder / "fail").touch()
    status, said = desk.call(minutes=1)
    assert status == 1
    assert said[0].startswith("no GPU is here")
    assert said[1].endswith("on a CPU: 7 passed")
    assert said[2].startswith("ranking: failed in ") and said[2].endswith(": planted failure")
    assert said[3].startswith("demo: not begun: it takes 2 min, and ")
    assert "nccl: not run: two ranks with NCCL need two GPUs: this machine has 0" in said
    assert said[-1].startswith("paper: not begun")
    assert (desk.kept("ranking")["outcome"], desk.kept("ranking")["status"]) == ("failed", 3)

    (desk.folder / "fail").unlink()
    status, said = desk.call("ranking", "kernels", minutes=1, COMMIT="abc")
    assert status == 0
    assert said[1] == f"kernels: already in {desk.folder / 'runs' / 'cpu' / 'kernels.json'}"
    assert said[2].startswith("ranking: done in ") and len(said) == 3
    kept = desk.kept("ranking")
    assert (kept["outcome"], kept["figures"], kept["commit"]) == ("done", {"times": 2.5}, "abc")
    assert kept["machine"]["device"] == "cpu"


def test_whoever_stops_it_finds_what_was_cut_off(desk):
    (desk.folder / "wait").touch()
    process, log = (
        desk.start("ranking", "kinds", minutes=5),
        desk.folder / "runs" / "cpu" / "ranking.log",
    )
    try:
        deadline = time.monotonic() + 60
        while not log.exists() or "it begins" not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
    finally:
        kill_tree(process)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("ranking: cut off in ")
    assert desk.kept("ranking")["outcome"] == "cut off"


def test_a_run_cut_off_in_its_first_round_hides_no_other(desk):
    """Of the paper's, of which the last has hardly ever come to its end."""
    papers = desk.folder / "runs" / "cpu" / "paper"
    leave_run(papers / "resnet18-paper-1x1", accuracies=[0.5, 0.6], ended=False)
    begun = leave_run(papers / "resnet18-paper-2x2", accuracies=[], ended=False)
    (begun / "metrics.jsonl").unlink(missing_ok=True)
    (desk.folder / "data" / "cifar-10-batches-py").mkdir(parents=True)
    status, said = desk.call("paper", minutes=5, DATA=str(desk.folder / "data"))
    assert status == 0, said
    [run] = desk.kept("paper")["figures"]["runs"]
    assert run["accuracy"] == [0.5, 0.6]


@pytest.mark.parametrize(
    ("checks", "variables", "expected"),
    [
        ([], {"MINUTES": "half"}, "tdml: MINUTES=half: give a whole number"),
        (["rank"], {}, "tdml: rank is no check: choose among kernels ranking demo "),
        ([], {"PYTHON": "false"}, "tdml: false is older than 3.11: set PYTHON to another"),
    ],
)
def test_mistakes_get_one_line(desk, checks, variables, expected):
    status, said = desk.call(*checks, minutes=1, **variables)
    assert status == 1
    assert said[-1].startswith(expected)
    assert len(said) <= 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_checks_on_a_processor(tmp_path, cifar10_root, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    desk = Desk(tmp_path, stub=None)
    status, said = desk.call(minutes=30, seconds=880, DATA=str(cifar10_root))
    assert status == 0, said
    errors = desk.kept("kinds")["figures"]["errors"]
    assert {error["update"] for error in errors} == {0.0}
    for check in ("repeat", "repeat-bf16", "repeat-gpt", "repeat-gpt-bf16"):
        figures = desk.kept(check)["figures"]
        assert (figures["windows"], figures["parted"]) == (24, [])
    [demo] = desk.kept("demo")["figures"]["runs"]
    assert list(demo["accused"]) == ["r3.s1"] and demo["wrongly_accused"] == []
    [paper] = desk.kept("paper")["figures"]["runs"]
    assert len(paper["accuracy"]) == 1
    for check in ("ranking", "throughput", "throughput-bf16", "throughput-gpt"):
        assert desk.kept(check)["outcome"] == "done"
