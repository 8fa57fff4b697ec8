"""Files of the user's that have the name of a module of Python's, or of a library."""

import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from tdml import config as settings
from tdml.errors import SettingError
from tdml.settings.extras import library
from tests.jobs import run_command


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the user starts, as Python sees it then."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    settings.see_own_classes()
    return tmp_path


def _put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / f"{name}.py").write_text("raise RuntimeError('not meant')\n")


def _load(name: str) -> settings.Config:
    """Settings that no other test has had, of which the tests know what they come to."""
    return settings.load([f"name={name}"])


def _found(name: str) -> str:
    spec = PathFinder.find_spec(name)
    assert spec is not None and spec.origin is not None
    return spec.origin


def test_what_is_pythons_stays_pythons_and_all_else_is_the_users(folder):
    _put(folder, "statistics", "_random", "mine", "yaml")
    for name in ("statistics", "_random"):
        assert Path(_found(name)).parent != folder
    for name in ("mine", "yaml"):
        assert Path(_found(name)).parent == folder


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (["tdml", "rounds=1"], "tdml: start this module with torchrun"),
        (["tdml.cli", "train", "--show-config", "name=first"], "name: first"),
    ],
)
def test_a_program_starts_beside_a_random_py(module, said, tmp_path):
    _put(tmp_path, "random", "signal", "statistics")
    found = run_command(sys.executable, "-m", *module, cwd=tmp_path)
    assert found.stdout.startswith(said)


@pytest.mark.parametrize("file", ["torch.py", "scipy/__init__.py"])
def test_a_librarys_name_is_refused_by_the_file_that_has_it(file, folder):
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).touch()
    name = file.removesuffix(".py").partition("/")[0]
    text = rf"^{folder / file} has the name of the library {name}, .*: give it another name"
    with pytest.raises(SettingError, match=text):
        _load(f"beside-{name}")


def test_so_is_that_of_a_library_which_only_some_jobs_need(folder):
    _put(folder, "datasets")
    _load("beside-datasets")
    with pytest.raises(SettingError, match=r"datasets\.py has the name of the library datasets, "):
        library("datasets", "data", "data=hf")


def test_where_the_current_folder_is_not_seen_nothing_is_hidden(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    _put(tmp_path, "yaml", "torch")
    assert library("yaml", "dev", "this test").YAMLError
    assert _load("unseen").name == "unseen"
