"""Whether two processes run the same code."""

import importlib
import sys
import zipfile
from pathlib import Path

import pytest

from tdml.config import load
from tdml.settings import code
from tdml.settings.code import code_of
from tdml.settings.file import differing

_NET = "from torch import nn\ndef net(num_classes): return nn.Sequential(nn.{}())\n"


def _names(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines()]


def test_a_users_module_and_tdml_itself_are_told_by_what_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [f"{group}._target_=code_of_mine.net" for group in ("model", "train.optimizer")]
    found = []
    for version, layer in (("a", "ReLU"), ("b", "ReLU"), ("c", "GELU")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "code_of_mine.py").write_text(_NET.format(layer))
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path / version)
            patch.delitem(sys.modules, "code_of_mine", raising=False)
            found.append(code_of(load(settings)))
    sys.modules.pop("code_of_mine")
    assert found[0] == found[1] != found[2]
    assert _names(found[0]) == _names(found[2]) == ["tdml", "code_of_mine"]
    (tmp_path / "tdml").mkdir()
    (tmp_path / "tdml" / "order.py").write_text("SEED = 1")
    monkeypatch.setattr(code, "_TDML", tmp_path / "tdml")
    (tmp_path / "tdml" / ".#order.py").symlink_to("user@machine")  # Emacs, which has it open
    other = code_of(load([]))
    assert other != found[0].splitlines()[0]
    (tmp_path / "tdml" / "order.py").write_text("SEED = 2")
    assert code_of(load([])) != other


def test_what_is_tdmls_or_of_the_data_has_no_line_of_its_own() -> None:
    """Nodes in the middle of a pipeline need not have what the data set is made with."""
    settings = load(["model=gpt", "data._target_=not_installed.datasets", "train.schedule=cosine"])
    assert _names(code_of(settings)) == ["tdml"]
    with pytest.raises(Exception, match="not_installed"):
        code_of(load(["model._target_=not_installed.net"]))


def test_a_file_that_ends_the_program_is_an_error_like_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node ended without a word, as scripts do that read the command line, and the launcher ended
    the coordinator before that could say anything."""
    (tmp_path / "ends_all.py").write_text("import sys\nsys.exit(2)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match=r"it ends the program .status 2.: what reads the comm"):
        code_of(load(["model._target_=ends_all.net"]))


def test_the_module_is_told_that_a_target_is_made_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not that of what it is made of, nor one of torch, which may differ between kinds."""
    (tmp_path / "bound.py").write_text(
        "import functools, torch\nrelu = functools.partial(torch.nn.ReLU, inplace=True)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    nested = ["model._target_=torch.nn.Sequential", "+model._args_=[{_target_: bound.relu}]"]
    assert _names(code_of(load(["train.optimizer._target_=torch.optim.SGD"]))) == ["tdml"]
    assert _names(code_of(load(["model._target_=bound.relu"]))) == ["tdml", "bound"]
    assert _names(code_of(load(nested))) == ["tdml", "bound"]


def test_what_a_users_module_has_imported_from_beside_it_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing that is installed, which machines may have in several versions."""
    (tmp_path / "of_mine").mkdir()
    (tmp_path / "of_mine" / "__init__.py").write_text("")
    (tmp_path / "of_mine" / "nets.py").write_text(
        "import numpy\nfrom sklearn.base import clone\nfrom beside import layer\n"
        "from . import parts\n" + _NET.format("ReLU")
    )
    (tmp_path / "of_mine" / "parts.py").write_text("import beside\n")
    (tmp_path / "beside.py").write_text("import of_mine.parts\ndef layer(): return 1\n")
    (tmp_path / "of_mine" / "data.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    told = code_of(load(["model._target_=of_mine.nets.net"]))
    assert _names(told) == ["tdml", "beside", "of_mine", "of_mine.nets", "of_mine.parts"]
    importlib.import_module("of_mine.data")  # as the ends of a pipeline do, and its middle does not
    assert code_of(load(["model._target_=of_mine.nets.net"])) == told


def test_who_has_a_users_module_in_an_archive_may_take_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "users.zip", "w") as archive:
        archive.writestr("archived.py", _NET.format("ReLU"))
    monkeypatch.syspath_prepend(tmp_path / "users.zip")
    assert _names(code_of(load(["model._target_=archived.net"]))) == ["tdml"]


def test_packages_that_models_are_taken_from_are_told_by_their_versions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another one may compute the same layer otherwise, which would be found false."""
    monkeypatch.setattr(code, "version", lambda package: f"version of {package}")
    llama = ["model=hf", "model.config={model_type: llama}", "task=language", "data=text"]
    whole, adapters = load(llama), load([*llama, "model.lora.rank=8"])
    assert code_of(whole).splitlines()[1:] == ["transformers version of transformers"]
    assert _names(code_of(adapters)) == ["tdml", "transformers", "peft"]


@pytest.mark.parametrize(
    ("setting", "name"), [("config", "config.json"), ("config", ""), ("pretrained", "")]
)
def test_the_file_that_a_model_is_built_from_is_compared(
    setting: str, name: str, tmp_path: Path
) -> None:
    """Two machines may have another under one path: of another `rope_theta` all shapes are the
    same, and all honest work would be found false."""
    given = load(["model=hf", f"model.{setting}={tmp_path / name}", "task=language", "data=text"])
    found = []
    for theta in (1e4, 5e5):
        (tmp_path / "config.json").write_text(f'{{"model_type": "llama", "rope_theta": {theta}}}')
        found.append(code_of(given))
    assert differing(*found) == [f"model.{setting}"]


def test_a_file_that_a_users_model_or_task_reads_is_compared(tmp_path: Path) -> None:
    """What its constructor keeps of it is told by nothing else."""
    own = [f"model._target_={__name__}.net", f"+task.of=[{tmp_path / 'classes'}]"]
    given = load([*own, f"+model.tables.first={tmp_path / 'table'}", "+model.note=" + "x" * 5000])
    found = []
    for table, classes in (("1", "a"), ("2", "a"), ("2", "b")):
        (tmp_path / "table").write_text(table)
        (tmp_path / "classes").write_text(classes)
        found.append(code_of(given))
    assert differing(found[0], found[1]) == ["model.tables.first"]
    assert differing(found[1], found[2]) == ["task.of.0"]
    (tmp_path / "table").unlink()
    assert differing(code_of(given), found[2]) == ["model.tables.first"]


def net(**_: object) -> None:
    """A model's constructor."""
