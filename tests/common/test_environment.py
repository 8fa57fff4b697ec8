"""All processes of a job walk a set of texts in the same order, and keep their memory."""

import os
import runpy
import subprocess
import sys

import pytest

from tdml import cli
from tdml.common import environment

_SCRIPT = """\
from tdml.common.environment import fix_environment
fix_environment()
print(hash("tdml"), __file__)
"""


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


def test_what_is_printed_goes_nowhere_where_the_streams_are_closed(tmp_path) -> None:
    """As supervisors close them: the next files would get their numbers, and the lines."""
    script, told = tmp_path / "script.py", tmp_path / "told"
    script.write_text(
        f"{_SCRIPT}import os, sys\nprint('nobody reads this', file=sys.stderr, flush=True)\n"
        f"with open({str(told)!r}, 'w') as file: print(file.fileno(), file=file)\n"
    )
    closing = 'exec "$0" "$@" <&- >&- 2>&-'
    subprocess.run(["sh", "-c", closing, sys.executable, script], timeout=30, check=True)
    assert int(told.read_text()) > 2


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


def test_who_sets_his_own_memory_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And an environment that is right is left alone: or the program would start for ever."""
    started: list[dict[str, str]] = []
    monkeypatch.setattr("os.environ", {"MALLOC_TRIM_THRESHOLD_": "0"})
    monkeypatch.setattr("os.execv", lambda *_: started.append(dict(os.environ)))

    environment.fix_environment()
    environment.fix_environment()

    assert [found["MALLOC_TRIM_THRESHOLD_"] for found in started] == ["0"]
    assert int(started[0]["MALLOC_MMAP_THRESHOLD_"]) >= 32 << 20


@pytest.mark.parametrize("own", [{}, {"RES_OPTIONS": "timeout:9"}], ids=["unset", "set"])
def test_a_silent_name_server_is_waited_for_two_seconds(
    own: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the C library reads it: torch asks it for the name of whoever connects."""
    monkeypatch.setattr("os.environ", dict(own))
    monkeypatch.setattr("os.execv", lambda *_: None)
    environment.fix_environment()
    assert os.environ["RES_OPTIONS"] == own.get("RES_OPTIONS", "timeout:1 attempts:2")


def test_nothing_is_compiled_for_a_process_alone() -> None:
    """Nodes whose models were compiled, each by itself, could not repeat each other's steps."""
    script = (
        "from tdml.common.environment import fix_environment; fix_environment(); import torch; "
        "print(torch.compile(model := torch.nn.Linear(2, 2)) is model)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "TORCHDYNAMO_DISABLE"}
    command = [sys.executable, "-c", script]
    assert subprocess.check_output(command, env=environment, text=True, timeout=60) == "True\n"


@pytest.mark.parametrize(
    ("library", "threshold"),
    [(("glibc", "2.31"), 32 << 20), (("glibc", "2.36"), 1 << 40), (("", ""), 1 << 40)],
)
def test_an_old_library_gets_a_threshold_that_it_takes(
    library: tuple[str, str], threshold: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: library)
    assert environment._memory()["MALLOC_MMAP_THRESHOLD_"] == str(threshold)
