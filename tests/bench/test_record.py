import json
import sys

import pytest

from tdml.bench import record, versions
from tdml.common.checkout import commit
from tdml.errors import SettingError

MACHINE = {"device": "cpu", "gpu": None, "kind": "torch 9, a CPU"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "machine.json").write_text(json.dumps(MACHINE))
    return tmp_path


def ended(folder, status, log, figures=None):
    """A check has ended so: the line that is printed, and what is kept."""
    (folder / "x.log").write_text(log)
    if figures is not None:
        (folder / "x.figures").write_text(json.dumps(figures))
    line = record.save(folder, "x", status, 2.4, "abc")
    kept = folder / "x.json"
    return line, json.loads(kept.read_text()) if kept.exists() else None


def test_what_is_kept_of_a_check(folder):
    line, kept = ended(folder, 0, "begins\n\n 3 of 3 \n\n", {"errors": []})
    assert line == "x: done in 2 s on a CPU: 3 of 3"
    assert kept.pop("date").endswith("+00:00")
    assert kept == {
        "check": "x", "outcome": "done", "status": 0, "seconds": 2.4, "result": "3 of 3",
        "commit": "abc", "machine": MACHINE, "figures": {"errors": []},
        "output": ["begins", " 3 of 3 "],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(1, "failed"), (5, "failed"), (137, "failed"), (124, "cut off"), (130, "cut off")],
)
def test_how_a_check_ended(folder, status, outcome):
    line, kept = ended(folder, status, "")
    assert line == f"x: {outcome} in 2 s on a CPU: it has said nothing"
    assert (kept["outcome"], kept["figures"]) == (outcome, None)


def test_figures_are_those_of_the_check_itself(folder):
    ended(folder, 124, "half of it\n", {"rounds": 3})
    _, kept = ended(folder, 1, "no more\n")
    assert kept["figures"] is None


def test_what_cannot_run_here_is_not_kept(folder):
    assert ended(folder, 77, "it needs two\n") == ("x: not run: it needs two", None)


def test_a_machine_has_a_folder_of_its_own(tmp_path, monkeypatch):
    found = {"device": "cuda", "gpu": "NVIDIA H100 80GB HBM3", "gpus": 1}
    monkeypatch.setattr("tdml.bench.hardware.describe", lambda: found)
    assert record.look(tmp_path / "gpu") == f"cuda 1 {tmp_path / 'gpu' / 'NVIDIA-H100-80GB-HBM3'}"
    assert (
        json.loads((tmp_path / "gpu" / "NVIDIA-H100-80GB-HBM3" / "machine.json").read_text())
        == found
    )
    found["device"] = "cpu"  # a GPU that torch cannot use
    assert record.look(tmp_path / "gpu") == f"cpu 1 {tmp_path / 'gpu' / 'cpu'}"


def test_missing_packages_are_named_before_anything_is_imported(tmp_path, monkeypatch):
    installed = versions.version
    monkeypatch.setattr(
        versions,
        "version",
        lambda name: None if name in ("hydra-core", "torch") else installed(name),
    )
    with pytest.raises(SettingError) as caught:
        record.look(tmp_path)
    assert str(caught.value).startswith(f"{sys.executable} lacks torch, hydra-core: set PYTHON ")
    assert not list(tmp_path.iterdir())


def test_what_the_installed_packages_need_is_needed_too(tmp_path, monkeypatch):
    needs = {"one": ["Two.x>=1,<2", "three; extra == 'more'"], "Two.x": None}
    monkeypatch.setattr(versions, "version", lambda name: "1" if name in needs else None)
    monkeypatch.setattr("importlib.metadata.requires", lambda name: needs[name])
    project = tmp_path / "pyproject.toml"
    project.write_text(
        '[project]\ndependencies = ["nobody-has.this>=1,<2", "one", "nor_this[it]==1"]'
    )
    assert versions.missing(project) == ["nobody-has.this", "nor_this"]
    del needs["Two.x"]
    assert versions.missing(project) == ["nobody-has.this", "nor_this", "Two.x"]


def test_the_version_is_the_one_that_is_named_or_checked_out(monkeypatch):
    monkeypatch.setenv("COMMIT", "named")
    assert commit() == "named"
    monkeypatch.delenv("COMMIT")
    monkeypatch.setenv("PATH", "/nowhere")
    assert commit() is None
