import io
import sys

import pytest

from tdml.errors import SettingError, fail, one_line, origin, write_any_text
from tdml.models.split import build


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("a\n  b\tc ", "a b c"),
        ("\x1b[2Jwiped\x9b1m \u202etxet\ud800", "�[2Jwiped�1m �txet�"),
        (ValueError("the disk\nis full"), "the disk is full"),
        (ValueError(""), "ValueError"),
        ("It broke. Set the environment variable HYDRA_FULL_ERROR=1 for a stack trace.", "It broke."),
        ("it broke, set env HYDRA_FULL_ERROR=1 for a stack trace", "it broke"),
    ],
)
def test_one_line(error, text):
    assert one_line(error) == text


def test_the_origin_of_a_chain_of_errors():
    first, second, third = OSError("the disk is full"), RuntimeError("stage 0 failed"), ValueError("no batch")
    second.__cause__, third.__cause__ = first, second
    assert origin(third) is origin(first) is first
    first.__cause__ = third
    assert origin(third) in (first, second, third)


def test_a_terminal_that_has_no_ticks(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    write_any_text()
    print("\u2713 or \u2717", flush=True)
    assert written.getvalue() == b"\\u2713 or \\u2717\n"


@pytest.mark.parametrize(("local_rank", "said"), [(None, "tdml: no disk\n"), ("0", "tdml: no disk\n"), ("1", "")])
def test_a_failure_is_said_once_on_every_machine(monkeypatch, capsys, local_rank, said):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert fail("no\ndisk") == 1
    assert capsys.readouterr() == ("", said)


def test_a_target_that_cannot_be_imported_says_why(tmp_path, monkeypatch):
    (tmp_path / "broken_plugin.py").write_text("import not_installed_here\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SettingError, match=r"^model=broken_plugin\.net cannot .*not_installed_here") as caught:
        build({"_target_": "broken_plugin.net"}, "meta")
    assert "\n" not in str(caught.value)
