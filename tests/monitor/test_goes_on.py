"""Run folders of runs that were cut off, or go on: what an earlier end has left is not of now."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tdml import cli
from tdml import config as settings
from tdml.errors import SettingError
from tdml.monitor.report import write_report
from tdml.monitor.run_folder import RunFolder
from tdml.protocol.identity import Identity
from tdml.settings.file import to_yaml
from tests.monitor.run_folders import leave_run


def _gone_on(folder: Path) -> Path:
    """A run that ended after two rounds, and was cut off two later, after a ban."""
    leave_run(folder / "cut", accuracies=[0.5] * 4, ended=False, banned={3: ["r1.s0"]})
    leave_run(folder / "ended", accuracies=[0.5] * 2)
    run = folder / "cut"
    (folder / "ended" / "summary.json").rename(run / "summary.json")
    torch.save({"weight": torch.ones(2)}, run / "model.pt")
    return run


def test_the_report_of_a_run_that_goes_on_says_what_is_true_now(tmp_path: Path) -> None:
    page = write_report(_gone_on(tmp_path)).read_text()
    assert "<dt>Banned nodes</dt><dd>r1.s0</dd>" in page
    assert "all rounds done" not in page and "unfinished" in page


def test_no_model_is_exported_that_is_older_than_the_last_round(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _gone_on(tmp_path)
    assert cli.run(["export", str(run), str(tmp_path / "x.safetensors")]) == 1
    assert "has not ended" in capsys.readouterr().err
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize("text", ["lr: 1\n", "- a\n", ""])
def test_a_folder_with_another_programs_config_is_left_where_it_is(
    tmp_path: Path, text: str
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "config.yaml").write_text(text)
    (project / "code.py").touch()
    config = replace(settings.load([]), run_dir=str(project))
    with pytest.raises(SettingError, match="holds files that are not of a run"):
        RunFolder(config).begin(config)
    assert sorted(path.name for path in project.iterdir()) == ["code.py", "config.yaml"]


def test_a_copy_of_a_run_is_one(tmp_path: Path) -> None:
    """Without its lock."""
    (tmp_path / "run").mkdir()
    config = replace(settings.load([]), run_dir=str(tmp_path / "run"))
    (tmp_path / "run" / "config.yaml").write_text(to_yaml(config))
    RunFolder(config).begin(config)
    assert (tmp_path / "run.1" / "config.yaml").exists()


def test_where_there_is_no_home_no_key_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    with pytest.raises(SettingError, match=r"^identity\.folder=~/keys: Could not determine home"):
        Identity.load("~/keys", "r0.s0")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unbuffered", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_what_was_found_wrong_is_so_for_whoever_does_not_read_on(
    tmp_path: Path, unbuffered: dict[str, str]
) -> None:
    """`tdml ledger check FILE ROOT | head` must not say 0."""
    (tmp_path / "proof.json").write_text("{}")
    command = [sys.executable, "-m", "tdml.cli", "ledger", "check", "proof.json", "ab" * 32]
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, cwd=tmp_path, env=environment | unbuffered
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(50) == 1
