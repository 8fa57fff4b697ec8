"""All processes of a job walk a set of texts in the same order."""

import os
import runpy
import subprocess
import sys

import pytest

from tdml import cli

_SCRIPT = "from tdml.common.hashes import fix_hashes; fix_hashes(); print(hash('tdml'), __file__)"


class Started(Exception):
    """Another program would have taken this process over."""


def test_every_process_has_the_same_hashes(tmp_path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    told = {
        subprocess.run(
            [sys.executable, script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
        for seed in ("0", "1", "random")
    }
    assert len(told) == 1, told
    assert str(script) in told.pop()


@pytest.mark.parametrize("start", ["python -m tdml", "tdml"])
def test_every_start_fixes_them(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def execv(path: str, arguments: list[str]) -> None:
        assert (path, arguments[0]) == (sys.executable, sys.executable)
        assert arguments[1:] == sys.orig_argv[1:]
        assert os.environ["PYTHONHASHSEED"] == "0"
        raise Started

    monkeypatch.setenv("PYTHONHASHSEED", "random")
    monkeypatch.setattr("os.execv", execv)
    monkeypatch.setattr("tdml.run.interruption.end_with_parent", lambda: None)
    with pytest.raises(Started):
        cli.main() if start == "tdml" else runpy.run_module("tdml", run_name="__main__")
