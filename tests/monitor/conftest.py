"""Where runs are that several files of tests leave."""

import pytest


@pytest.fixture
def path(tmp_path):
    """Of a run folder that is not there yet."""
    return tmp_path / "runs" / "mine"
