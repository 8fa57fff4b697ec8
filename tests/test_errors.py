import pytest

from tdml.errors import fail, one_line


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("a\n  b\tc ", "a b c"),
        (ValueError("the disk\nis full"), "the disk is full"),
        (ValueError(""), "ValueError"),
        ("It broke. Set the environment variable HYDRA_FULL_ERROR=1 for a stack trace.", "It broke."),
        ("it broke, set env HYDRA_FULL_ERROR=1 for a stack trace", "it broke"),
    ],
)
def test_one_line(error, text):
    assert one_line(error) == text


@pytest.mark.parametrize(("local_rank", "said"), [(None, "tdml: no disk\n"), ("0", "tdml: no disk\n"), ("1", "")])
def test_a_failure_is_said_once_on_every_machine(monkeypatch, capsys, local_rank, said):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert fail("no\ndisk") == 1
    assert capsys.readouterr() == ("", said)
