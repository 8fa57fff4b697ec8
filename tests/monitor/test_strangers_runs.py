"""Run folders that somebody else has made up: one line, and nothing that controls the terminal."""

import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tdml import cli
from tdml.monitor.compare import write_comparison
from tests.monitor.run_folders import leave_run

_REPORT, _COMPARE, _OUTCOME = ["report"], ["report", "--compare"], ["bench", "outcome"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    attack = ["attack=gaussian", "attack.replicas=[1]", "topology.replicas=2"]
    return leave_run(tmp_path_factory.mktemp("runs") / "sound", *attack, accuracies=[0.5])


def with_line(change: Callable[[dict], object]) -> Callable[[Path], object]:
    """A line of metrics.jsonl, changed."""

    def damage(run: Path) -> None:
        line = json.loads((run / "metrics.jsonl").read_text())
        change(line)
        (run / "metrics.jsonl").write_text(json.dumps(line) + "\n")

    return damage


def with_setting(name: str, value: str) -> Callable[[Path], object]:
    """A setting, wherever it comes in config.yaml."""

    def damage(run: Path) -> None:
        text = (run / "config.yaml").read_text()
        (run / "config.yaml").write_text(
            re.sub(rf"(?m)^( *{name}:) .*$", lambda found: f"{found[1]} {value}", text)
        )

    return damage


def with_many_attackers(run: Path) -> None:
    """More than there are nodes: a file of this size has room for hundreds of thousands."""
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["topology"]["stages"] = 2**14
    settings["attack"]["replicas"] = [0] * 8
    (run / "config.yaml").write_text(json.dumps(settings))


def untested(line: dict) -> None:
    del line["test_accuracy"], line["test_loss"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("command", "damage"),
    [
        (_REPORT, with_line(untested)),
        (_REPORT, with_line(lambda line: line.update(test_loss=10**400))),
        (_COMPARE, with_line(lambda line: line["replicas"]["0"].update(train_loss=10**400))),
        (_COMPARE, with_line(lambda line: line.update(test_accuracy="high"))),
        (_COMPARE, with_line(lambda line: line["replicas"].update(x=line["replicas"]["0"]))),
        (_COMPARE, with_setting("rounds", "many")),
        (_COMPARE, with_setting("name", "[1]")),
        (_COMPARE, with_setting("from_round", "late")),
        (_COMPARE, with_setting("_target_", "3")),
        (_COMPARE, with_setting("stages", "1" + "0" * 12)),
        (_OUTCOME, with_setting("stages", "1" + "0" * 12)),
        (_OUTCOME, with_line(lambda line: line.update(test_accuracy="high"))),
        (_OUTCOME, with_many_attackers),
    ],
)
def test_what_no_run_writes_is_one_line(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture, command: list[str], damage: Callable
) -> None:
    run = shutil.copytree(sound, tmp_path / "run")
    damage(run)
    more = ["--out", str(tmp_path / "out")] if command is _COMPARE else []
    assert cli.run([*command, str(run), *more]) == 1
    said = capsys.readouterr().err
    assert said.startswith("tdml: ") and str(run) in said and said.count("\n") == 1
    assert "damaged" in said


@pytest.mark.timeout(60)
def test_a_name_is_no_mathematics(sound: Path, tmp_path: Path) -> None:
    run = shutil.copytree(sound, tmp_path / "run")
    with_setting("name", r"'$\foo$'")(run)
    write_comparison([run], tmp_path / "out")
    assert r"<!-- $\foo$  0.500 -->" in (tmp_path / "out" / "accuracy.svg").read_text()


@pytest.mark.timeout(60)
def test_a_name_may_have_letters_that_the_font_lacks(sound: Path, tmp_path: Path) -> None:
    run = shutil.copytree(sound, tmp_path / "run")
    with_setting("name", "模型")(run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_comparison([run], tmp_path / "out")
    assert ">模型  0.500</text>" in (tmp_path / "out" / "accuracy.svg").read_text()


def test_a_name_does_not_control_the_terminal(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = shutil.copytree(sound, tmp_path / "run")
    with_setting("name", r'"\e[2Jwiped"')(run)
    assert cli.run(["bench", "outcome", str(run)]) == 0
    assert capsys.readouterr().out.startswith("�[2Jwiped: accuracy 0.5")
