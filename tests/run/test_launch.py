"""Starting a job: torchrun on one and on several agents, `tdml train`, and mistakes in the
settings."""

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tdml import cli
from tdml import config as settings
from tdml.errors import INTERRUPTED, SettingError
from tdml.run import launch
from tdml.settings.file import from_yaml
from tests.agents import start_agents, wait_until
from tests.jobs import (
    SMALL,
    descendants,
    finish_job,
    kill_tree,
    run_command,
    run_job,
    start_job,
)
from tests.slow import slow_but

_TDML = [sys.executable, "-m", "tdml.cli"]
_MISTAKES = {
    "more stages than blocks": (["topology.stages=5"], "topology.stages asks for 5 parts"),
    "data root without data": (["data=cifar10", "data.root=/nowhere"], "data.root=/nowhere"),
    "unknown attack class": (
        ["attack._target_=nobody.Knows", "attack.nodes=[r0.s0]"],
        "attack._target_=nobody.Knows",
    ),
    "too few classes": (["model.num_classes=5"], "model.num_classes"),
    "too large a batch": (
        ["train.batch_size=1000", "topology.replicas=2"],
        "train.batch_size: 1437 training samples",
    ),
    "resume of nothing": (["resume=true"], "resume=true"),
}


@pytest.mark.parametrize(
    "case", slow_but(["more stages than blocks", "unknown attack class"], _MISTAKES)
)
def test_mistake_ends_every_rank_with_one_line(case: str, tmp_path: Path) -> None:
    mistake, expected = _MISTAKES[case]
    ranks = (
        1 + 2 * 2
        if "topology.replicas=2" in mistake
        else 1 + (5 if "topology.stages=5" in mistake else 2)
    )
    base = ["model=cnn", "topology.replicas=1", "topology.stages=2", "rounds=1"]
    result = run_job(tmp_path / "run", ranks, *base, *mistake, seconds=30)
    assert result.statuses == [1] * ranks
    lines = result.output.splitlines()
    assert len(lines) == 1, result.output
    assert lines[0].startswith("tdml: ")
    assert expected in lines[0]
    assert result.rounds == []


@pytest.mark.parametrize("taken", ["file", "folder"])
def test_run_folder_that_cannot_be_written_is_named(taken: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    run = tmp_path / "file" / "run" if taken == "folder" else tmp_path / "file"
    result = run_job(
        tmp_path / "x", 3, f"run_dir={run}", "topology.replicas=1", "model=cnn", "rounds=1"
    )
    assert result.statuses == [1] * 3
    assert result.output.startswith(f"tdml: run_dir={run} cannot be written")
    assert (tmp_path / "file").read_text() == "in the way"


def test_wrong_world_size_says_what_to_start(tmp_path: Path) -> None:
    result = run_job(tmp_path / "run", 4, "topology.replicas=2", "topology.stages=2")
    assert result.statuses == [1] * 4
    assert (
        "WORLD_SIZE is 4, but 2 replicas × 2 stages + 1 coordinator + 0 spares need 5: "
        "start torchrun with --nproc-per-node 5" in result.output
    )


def test_ranks_with_other_settings_are_refused(tmp_path: Path) -> None:
    """Each rank composes its own; the name and the folder of the run are the coordinator's."""
    run, own = tmp_path / "run", _own_experiment(tmp_path)
    job = [
        f"run_dir={tmp_path}/${{now:%f}}",
        *SMALL,
        "topology.replicas=1",
        "topology.stages=2",
        "name=${now:%f}",
    ]
    job += ["--config-dir", str(own), "experiment=mine"]
    result = finish_job(run, *start_job(run, 3, *job, own={2: ["seed=1"]}), seconds=90)
    assert result.statuses == [1] * 3
    assert (
        "rank 2 was started with other settings than rank 0 (seed): give all of them the same"
        in result.output
    )


def test_train_report_and_export(tmp_path: Path) -> None:
    """One replica of one stage: the single-machine baseline, on the same path."""
    job = [
        *SMALL,
        "topology.replicas=1",
        "topology.stages=1",
        f"run_dir={tmp_path}/run-${{now:%f}}",
    ]
    own = [
        "--config-dir",
        str(_own_experiment(tmp_path)),
        "experiment=mine",
        "model._target_=tests.plugins.warns",
    ]
    result = run_command(*_TDML, "train", "name=${now:%f}", *own, *job)
    assert result.returncode == 0, result.stdout
    assert "Traceback" not in result.stdout
    assert (
        result.stdout.count("Warning")
        == result.stdout.count("UserWarning: built in a slow way")
        == 1
    )
    (run,) = tmp_path.glob("run-*")
    config = from_yaml(run / "config.yaml")
    assert (config.run_dir, config.rounds, config.name.isdigit()) == (str(run), 2, True), (
        "resolved once, for all ranks"
    )
    for expected in (
        str(run),
        "tensorboard --logdir",
        "report.html",
        "1 replica: nobody can repeat its work",
    ):
        assert expected in result.stdout
    (run / "report.html").unlink()
    assert cli.run(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert page.count("<svg") == 1 + 2 + 1, (
        "curves, the ranks of two rounds, and who held which slot"
    )
    assert "http" not in page.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "").replace("https://matplotlib.org", "")
    out = tmp_path / "model.safetensors"
    assert cli.run(["export", str(run), str(out)]) == 0
    exported, model = load_file(out), torch.load(run / "model.pt", weights_only=True)
    assert exported.keys() == model.keys()
    assert all(torch.equal(exported[name], model[name]) for name in model)
    again = run_command(*_TDML, "train", *job, f"run_dir={run}", "topology.stages=9")
    assert again.returncode == 1
    assert again.stdout.count("\n") == 1, again.stdout
    assert [folder.name for folder in tmp_path.glob("run-*")] == [run.name], (
        "a mistake moves no run aside"
    )


def test_an_interrupted_command_says_so(monkeypatch, capsys, tmp_path: Path) -> None:
    def interrupt(run: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tdml.monitor.report.write_report", interrupt)
    assert cli.run(["report", str(tmp_path)]) == 130
    assert capsys.readouterr() == ("", "tdml: interrupted\n")


def test_an_interruption_while_settings_are_composed_is_no_mistake_in_them(monkeypatch) -> None:
    """The library that composes them wraps what Python's handler raises into an error of its
    own."""
    handlers = []

    def load(_: object) -> None:
        handlers.append(signal.getsignal(signal.SIGINT))
        raise SettingError("no more is asked")

    monkeypatch.setattr(settings, "load", load)
    assert cli.run(["train"]) == 1
    assert handlers == [launch.leave]


@pytest.mark.parametrize(
    ("rank", "exitcode", "said"),
    [
        (0, -signal.SIGKILL, "tdml: the coordinator was killed (SIGKILL; "),
        (3, -signal.SIGSEGV, "tdml: r1.s0 was killed (SIGSEGV): after"),
        (5, -signal.SIGKILL, "tdml: spare0 was killed (SIGKILL; "),
        (3, 1, ""),
    ],
)
def test_a_rank_that_was_killed_is_named(capsys, rank: int, exitcode: int, said: str) -> None:
    topology = settings.load(
        ["topology.replicas=2", "topology.stages=2", "topology.spares=1"]
    ).topology
    assert launch._status(0, INTERRUPTED, topology) == INTERRUPTED
    assert launch._status(rank, exitcode, topology) == 1
    error = capsys.readouterr().err
    assert error.startswith(said) and bool(error) == bool(said)


def test_no_other_machine_reaches_a_rank(monkeypatch) -> None:
    def look(config: object, interruption: object) -> int:
        own = {os.environ.get(name) for name in ("GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME")}
        return 0 if own == {"lo"} else 1

    monkeypatch.setattr("tdml.run.rank.take_part", look)
    rank = launch._fork(settings.load([]), 1, {"WORLD_SIZE": 2})
    rank.join(30)
    assert rank.exitcode == 0


def test_when_a_rank_fails_the_others_end_whether_they_want_or_not(monkeypatch) -> None:
    def be_deaf() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ready.set()
        time.sleep(60)

    def fail() -> None:
        ready.wait()
        os._exit(3)

    monkeypatch.setattr(launch, "_END_S", 0.2)
    ready = multiprocessing.get_context("fork").Event()
    ranks = [launch._Process(target=target) for target in (be_deaf, lambda: time.sleep(60), fail)]
    for rank in ranks:
        rank.start()
    assert launch._await(ranks) == (2, 3)
    launch._end(ranks)
    assert [rank.exitcode for rank in ranks] == [-signal.SIGKILL, -signal.SIGTERM, 3]
    assert launch._await(ranks[:0]) is None


def test_a_rank_that_hangs_holds_nobody_up_when_the_run_is_over(monkeypatch) -> None:
    """As in a reader of data that waits for ever: the model is there, and the command was not
    done."""
    monkeypatch.setattr(launch, "_END_S", 0.5)
    targets = (lambda: None, lambda: time.sleep(60), lambda: time.sleep(0.2))
    ranks = [launch._Process(target=target) for target in targets]
    for rank in ranks:
        rank.start()
    start = time.monotonic()
    assert launch._await(ranks) is None
    launch._end(ranks)
    assert time.monotonic() - start < 30
    assert [rank.exitcode for rank in ranks] == [0, -signal.SIGTERM, 0]


def test_several_agents_and_a_node_that_is_killed(tmp_path: Path) -> None:
    """Each node under an agent of its own: one that dies takes nothing with it but its agent."""
    job = [
        f"run_dir={tmp_path / 'run'}", *SMALL, "topology.replicas=2", "topology.stages=1",
        "topology.spares=1", "rounds=200", "sync.local_steps=2",
    ]  # fmt: skip
    agents = start_agents(4, *job)
    try:
        metrics = tmp_path / "run" / "metrics.jsonl"
        wait_until(lambda: metrics.exists() and metrics.read_text().count("\n") >= 1, agents[0])
        os.kill(descendants(agents[2].pid)[0], signal.SIGKILL)
        wait_until(lambda: "spare0 takes the place of r1.s0" in metrics.read_text(), agents[0])
        last = metrics.read_text().count("\n")
        wait_until(lambda: metrics.read_text().count("\n") >= last + 3, agents[0])
        agents[0].send_signal(signal.SIGTERM)
        output, _ = agents[0].communicate(timeout=60)
    finally:
        for agent in agents:
            kill_tree(agent)
    assert "spare0 takes the place of r1.s0 (dead)" in output


def _own_experiment(folder: Path) -> Path:
    """A folder of choices of a user's own: `experiment=mine` has two rounds."""
    own = folder / "own conf, it's mine"
    (own / "experiment").mkdir(parents=True)
    (own / "experiment" / "mine.yaml").write_text("# @package _global_\nrounds: 2\n")
    return own
