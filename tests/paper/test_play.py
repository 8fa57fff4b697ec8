"""Playing the paper's runs: with a stand-in for `tdml train`, and with the real thing on a small
model."""

import re
import signal
import sys
from pathlib import Path

import pytest

from tdml import cli
from tdml.paper import play
from tdml.paper.play import Player, state_of
from tdml.paper.runs import Run
from tests.jobs import kill_tree, start_command
from tests.monitor.run_folders import leave_run

_RUNS = [
    Run("resnet18", "paper", 1, 1),
    Run("resnet18", "paper", 2, 2),
    Run("resnet18", "paper", 4, 2),
]


@pytest.fixture
def played(monkeypatch):
    """The settings of the runs that are played, by a stand-in: that of one replica fails."""
    runs = []
    monkeypatch.setattr(play, "play", lambda settings: runs.append(settings) or _fails(settings))
    return runs


def _fails(settings):
    return int("1x1" in " ".join(settings))


def test_what_is_done_is_skipped_and_what_was_cut_off_goes_on(
    tmp_path: Path, played, capsys
) -> None:
    runs = tmp_path / "it's here"
    leave_run(runs / "resnet18-paper-1x1", accuracies=[0.1] * 74 + [0.9])
    leave_run(runs / "resnet18-paper-2x2", "rounds=75", accuracies=[0.1, None], ended=False)
    assert Player(runs, tmp_path / "data", ["seed=1"]).play(_RUNS) == 0
    assert capsys.readouterr().out.splitlines() == [
        "[1/3] resnet18-paper-1x1: done: round 75 of 75, 0.900",
        "[2/3] resnet18-paper-2x2: round 2 of 75",
        "[3/3] resnet18-paper-4x2: not begun",
    ]
    second, third = played
    assert {"recipe=paper", "resume=auto", "name=resnet18-paper-2x2"} <= {*second}
    assert {"seed=1", "resume=auto", "name=resnet18-paper-4x2"} <= {*third}


def test_settings_are_read_as_they_are_meant(tmp_path: Path) -> None:
    from tdml import config as settings

    config = settings.load(
        Player(tmp_path / "it's", tmp_path / "a,b", ["seed=1"]).overrides(_RUNS[0])
    )
    assert config.run_dir == f"{tmp_path}/it's/resnet18-paper-1x1"
    assert (config.data["root"], config.seed) == (f"{tmp_path}/a,b", 1)


def test_a_run_that_is_done_goes_on_for_more_rounds(tmp_path: Path, played) -> None:
    leave_run(tmp_path / "resnet18-paper-1x1", accuracies=[0.5] * 75)
    Player(tmp_path, tmp_path, ["rounds=76"]).play(_RUNS[:1])
    assert len(played) == 1


@pytest.mark.usefixtures("played")
def test_one_that_fails_does_not_keep_the_others(tmp_path: Path, capsys) -> None:
    assert Player(tmp_path, tmp_path, []).play(_RUNS) == 1
    said = capsys.readouterr()
    assert "[3/3]" in said.out
    assert said.err == "tdml: 1 of 3 runs have failed: resnet18-paper-1x1\n"


def test_a_signal_ends_the_run_under_way_and_starts_no_other(tmp_path: Path) -> None:
    """The child is told once, however often the signal comes, and its last words are heard."""
    child = tmp_path / "python"  # in the place of the one that runs `tdml train`
    child.write_text(f"""#!{sys.executable}
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("ENDS", flush=True), time.sleep(1), sys.exit(1)))
print("BEGUN", flush=True)
time.sleep(60)""")
    child.chmod(0o755)
    program = f"""if True:
        import sys
        from pathlib import Path
        from tdml.paper.play import Player
        from tdml.paper.runs import all_runs
        sys.executable = {str(child)!r}
        sys.exit(Player(Path({str(tmp_path)!r}), Path("data"), []).play(all_runs()))"""
    process = start_command(sys.executable, "-c", program)
    try:
        assert process.stdout.readline().startswith("[1/")
        assert process.stdout.readline() == "BEGUN\n"
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
    finally:
        kill_tree(process)
    assert process.returncode == 130
    assert (
        output
        == "ENDS\nstopped: resnet18-paper-2x2: not begun. The same command goes on from there\n"
    )


def test_how_far_a_run_has_come(tmp_path: Path) -> None:
    assert state_of(tmp_path / "nowhere") == "not begun"
    assert state_of(leave_run(tmp_path / "begun", accuracies=[], ended=False)) == "not begun"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["resnet18-paper-1x1"], "data.root=DATA (DATA) does not hold CIFAR-10"),
        (["resnet18-paper-1x1", "train.lr=fast"], "train.lr"),
        (["resnet34"], "resnet34 is no run, nor a pattern or word of one"),
        (["--list", "resnet34"], "resnet34 is no run, nor a pattern or word of one"),
        (["--results", "resnet34"], "resnet34 is no run, nor a pattern or word of one"),
    ],
)
def test_a_mistake_is_one_line_before_anything_starts(
    arguments, expected, tmp_path: Path, capsys
) -> None:
    data, runs = tmp_path / "data", tmp_path / "runs"
    assert (
        cli.run(
            [
                "paper",
                "--data",
                str(data),
                "--runs",
                str(runs),
                "--docs",
                str(tmp_path / "docs"),
                *arguments,
            ]
        )
        == 1
    )
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith(f"tdml: {expected.replace('DATA', str(data))}")
    assert list(tmp_path.iterdir()) == []


def test_the_list_says_how_far_each_run_has_come(tmp_path: Path, capsys) -> None:
    leave_run(tmp_path / "resnet18-fast-1x1", "rounds=30", accuracies=[0.25], ended=False)
    assert (
        cli.run(
            ["paper", "--runs", str(tmp_path), "--list", "resnet18-fast-1x1", "resnet18-fast-2x2"]
        )
        == 0
    )
    first, second = capsys.readouterr().out.splitlines()
    assert re.match(
        r"resnet18-fast-1x1 +round 1 of 30, 0.250 +experiment=paper/baseline .* recipe=fast rounds=30 ",
        first,
    )
    assert re.match(r"resnet18-fast-2x2 +not begun +experiment=paper/two ", second)
