"""A neighbour in a pipeline runs no code, whatever it has torch ask for and answers."""

from itertools import product

import pytest

from tests.jobs import forked
from tests.node.hostile_neighbour import main
from tests.slow import slow_but


@pytest.mark.parametrize(
    ("shield", "liar"),
    slow_but({("stage", 0), ("guard", 1)}, product(["stage", "guard"], [0, 1])),
)
def test_what_a_neighbour_sends_is_never_unpickled(tmp_path, liar, shield):
    processes = [forked(main, rank, tmp_path, liar, shield) for rank in range(2)]
    try:
        processes[1 - liar].join(60)
    finally:
        for process in processes:
            process.kill()
    assert not (tmp_path / "canary").exists()
    assert "Error" in (tmp_path / "said").read_text()  # the step has failed: the liar was there
