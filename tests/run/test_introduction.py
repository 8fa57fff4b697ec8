"""The first lines of a run."""

from types import SimpleNamespace

import pytest

from tdml import config as settings
from tdml.run.introduction import introduce


@pytest.mark.parametrize(
    ("resumed", "said"),
    [(None, ""), (0, ", going on after round 0"), (7, ", going on after round 7")],
)
def test_a_run_that_goes_on_says_so(
    resumed: int | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that was taken back to the start of the job."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29500")
    lines: list[str] = []
    introduce(
        settings.load(["name=mine", "sync.inner_state=kept"]),
        SimpleNamespace(moved=None),
        resumed,
        "gloo",
        SimpleNamespace(refused={}, given=True),
        SimpleNamespace(say=lambda text, style="": lines.append(text)),
    )
    assert lines[0].endswith(f"stages connected by gloo{said}")
    assert any("begin anew" in line for line in lines) == (resumed is not None)
