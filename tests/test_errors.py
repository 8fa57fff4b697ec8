import io
import os
import socket
import subprocess
import sys
import warnings
from typing import NoReturn

import pytest

from tdml.errors import (
    SettingError,
    complain,
    fail,
    one_line,
    origin,
    say,
    watch_warnings,
    write_any_text,
)
from tdml.models.split import build
from tdml.run.rank import leave_with


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("a\n  b\tc ", "a b c"),
        ("\x1b[2Jwiped\x9b1m \u202etxet\ud800", "�[2Jwiped�1m �txet�"),
        (ValueError("the disk\nis full"), "the disk is full"),
        (ValueError(""), "ValueError"),
        (
            "It broke. Set the environment variable HYDRA_FULL_ERROR=1 for a stack trace.",
            "It broke.",
        ),
        (FileExistsError(17, "File exists", "out"), "File exists: 'out'"),
        ("it broke, set env HYDRA_FULL_ERROR=1 for a stack trace", "it broke"),
    ],
)
def test_one_line(error, text):
    assert one_line(error) == text


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["set env ", ", set the env"])
def test_a_text_that_others_have_made_very_long_takes_no_time(text):
    """As what a hostile node's answer raises, or a name in a stranger's ledger."""
    assert len(one_line(text * 20_000)) <= 5_000


def test_the_origin_of_a_chain_of_errors():
    first, second, third = (
        OSError("the disk is full"),
        RuntimeError("stage 0 failed"),
        ValueError("no batch"),
    )
    second.__cause__, third.__cause__ = first, second
    assert origin(third) is origin(first) is first
    first.__cause__ = third
    assert origin(third) in (first, second, third)


def test_a_mistake_of_the_users_says_itself_what_it_comes_from():
    mistake, wrapper = (
        SettingError("data: training sample 7 cannot be read: OSError"),
        RuntimeError("stage 0 failed"),
    )
    mistake.__cause__, wrapper.__cause__ = OSError("it cannot"), mistake
    assert origin(wrapper) is origin(mistake) is mistake


def test_what_nobody_can_read_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as out, open("/dev/full", "w") as errors:
        for name, file in (("stdout", out), ("stderr", errors)):
            monkeypatch.setattr(sys, name, file)
        say("takes part as spare0")
        complain("tdml: rank 1: the coordinator is gone")
        assert fail("it is over", 7) == 7
        monkeypatch.setattr("os._exit", _leave)
        with pytest.raises(SystemExit, match="75"):
            leave_with(75)
        for file in (out, errors):  # what is left in it must not be written at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


def _leave(status: int) -> NoReturn:
    raise SystemExit(status)


@pytest.mark.parametrize(
    ("shown", "options", "said"),
    [(True, [], ["a b", "other"]), (False, [], []), (False, ["default"], ["a b", "other"])],
    ids=["first rank", "another rank", "asked for"],
)
def test_what_libraries_warn_of_is_said_once_in_a_line(monkeypatch, capsys, shown, options, said):
    """Whatever changes of filters come between, with which Python forgets what it has said."""
    monkeypatch.setattr(sys, "warnoptions", options)
    with warnings.catch_warnings():
        watch_warnings(shown)
        for text in ("a\nb", "a\nb", "other"):
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                warnings.warn(text, stacklevel=1)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": UserWarning: ")[2] for line in lines] == said
    assert all(line.startswith(f"{__file__}:") for line in lines)


def test_a_terminal_that_has_no_ticks(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    write_any_text()
    print("\u2713 or \u2717", flush=True)
    assert written.getvalue() == b"\\u2713 or \\u2717\n"


@pytest.mark.parametrize(
    ("local_rank", "said"), [(None, "tdml: no disk\n"), ("0", "tdml: no disk\n"), ("1", "")]
)
def test_a_failure_is_said_once_on_every_machine(monkeypatch, capsys, local_rank, said):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert fail("no\ndisk") == 1
    assert capsys.readouterr() == ("", said)


def test_a_target_that_cannot_be_imported_says_why(tmp_path, monkeypatch):
    (tmp_path / "broken_plugin.py").write_text("import not_installed_here\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        SettingError, match=r"^model=broken_plugin\.net cannot .*not_installed_here"
    ) as caught:
        build({"_target_": "broken_plugin.net"}, "meta")
    assert "\n" not in str(caught.value)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("arguments", [[], ["rounds=2"], ["train", "rounds=2"], ["--help me"]])
def test_who_starts_a_rank_alone_is_told_what_does_so(arguments):
    assert _start_alone({"WORLD_SIZE": ""}, *arguments) == (
        1,
        "tdml: start this module with torchrun, or run `tdml train`, which does so: the environment "
        "has no WORLD_SIZE\n",
    )


_THREE = ["model=mlp", "data.size=8", "topology.replicas=2", "topology.stages=1"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"MASTER_ADDR": ""}, "the environment has no MASTER_ADDR"),
        ({"LOCAL_RANK": ""}, "the environment has no LOCAL_RANK"),
        ({"RANK": "first"}, "the environment has RANK=first"),
        ({"RANK": "-1"}, "the environment has RANK=-1"),
        ({"RANK": "3"}, "RANK=3 must be less than WORLD_SIZE=3"),
        ({"MASTER_PORT": "65536"}, "MASTER_PORT=65536 must be from 1 to 65535"),
        (
            {},
            "MASTER_ADDR=127.0.0.1, MASTER_PORT={port}: the ranks cannot meet there: another "
            "process has that port",
        ),
    ],
)
def test_a_rank_that_was_told_something_wrong_says_what(variables, message):
    """As by an operator, or by hand. The last one: another program has the port."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        status, said = _start_alone({"MASTER_PORT": port, **variables}, *_THREE)
    assert status == 1
    assert message.format(port=port) in said
    assert said.count("\n") == 1


def _start_alone(variables: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Start a rank without a launcher: its exit status, and what it says is wrong."""
    told = {"WORLD_SIZE": "3", "RANK": "0", "LOCAL_WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    environment = os.environ | told | {"MASTER_ADDR": "127.0.0.1"} | variables
    run = subprocess.run(
        [sys.executable, "-m", "tdml", *arguments],
        check=False,
        env={name: value for name, value in environment.items() if value},
        capture_output=True,
        text=True,
        timeout=50,
    )
    return run.returncode, run.stderr
