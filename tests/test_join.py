"""`tdml join` where there is no job to join."""

import sys

import pytest

from tests.jobs import run_command


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nowhere", "nowhere is no HOST:PORT"),
        ("127.0.0.1:99999", "127.0.0.1:99999 is no HOST:PORT"),
        (f"{'a' * 70}:29500", f"{'a' * 70}:29500: that can be no host's name"),
        ("127.0.0.1:-1", "127.0.0.1:-1 is no HOST:PORT"),
        ("127.0.0.1:1", "no job answers at 127.0.0.1:1 within sync.patience=1 s"),
    ],
)
def test_an_address_without_a_job_is_named_in_one_line(address: str, said: str) -> None:
    found = run_command(sys.executable, "-m", "tdml.cli", "join", address, "sync.patience=1")
    assert found.returncode == 1
    assert f"tdml: {said}" in found.stdout
    assert "Traceback" not in found.stdout


@pytest.mark.timeout(60)
def test_a_host_that_is_not_known_yet_is_said_at_once_and_waited_for() -> None:
    address = "no.such.host.invalid:29500"
    found = run_command(sys.executable, "-m", "tdml.cli", "join", address, "sync.patience=1")
    assert found.returncode == 1
    assert "no host is known as no.such.host.invalid: " in found.stdout
    assert f"tdml: no job answers at {address} within sync.patience=1 s" in found.stdout


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "b"], "give one RUN to report of, or several after --compare"),
        ([], "give one RUN to report of, or several after --compare"),
        (["nowhere"], "nowhere is no folder: give that of a run"),
    ],
)
def test_a_report_of_nothing_or_of_two_is_one_line(arguments: list[str], said: str) -> None:
    found = run_command(sys.executable, "-m", "tdml.cli", "report", *arguments)
    assert found.returncode == 1
    assert found.stdout.strip() == f"tdml: {said}"
