"""What a run that is resumed goes on from."""

from dataclasses import replace
from pathlib import Path

import pytest

from tdml.config import load
from tdml.errors import SettingError
from tdml.round.checkpoint import save
from tdml.run.end_coordinator import interrupted
from tdml.run.start_coordinator import _last_checkpoint
from tests.round.test_checkpoint import CHECKPOINT


def test_a_run_that_has_done_more_rounds_than_it_is_to_have_is_not_resumed(tmp_path: Path) -> None:
    save(replace(CHECKPOINT, round=14), tmp_path, memory=0)
    assert _last_checkpoint(load(["rounds=5"]), tmp_path) is None
    for rounds in (14, 15):
        found = _last_checkpoint(load([f"rounds={rounds}", "resume=true"]), tmp_path)
        assert found is not None
        assert found.round == 14
    with pytest.raises(
        SettingError,
        match=r"^rounds=5, but run_dir=.* has done 14 already: give rounds=14 or more$",
    ):
        _last_checkpoint(load(["rounds=5", "resume=true"]), tmp_path)


def test_an_interrupted_run_says_what_to_do_next() -> None:
    assert interrupted(7, "go on") == "interrupted after round 7: go on"
    assert interrupted(0, "go on") == "interrupted before the first round was done: go on"
