"""What a run that is resumed goes on from."""

from dataclasses import replace
from pathlib import Path

import pytest

from tdml.config import load
from tdml.errors import SettingError
from tdml.start_coordinator import _last_checkpoint
from tdml.training.checkpoint import save
from tests.training.test_checkpoint import CHECKPOINT


def test_a_run_that_has_done_more_rounds_than_it_is_to_have_is_not_resumed(tmp_path: Path) -> None:
    save(replace(CHECKPOINT, round=14), tmp_path)
    assert _last_checkpoint(load(["rounds=5"]), tmp_path) is None
    for rounds in (14, 15):
        found = _last_checkpoint(load([f"rounds={rounds}", "resume=true"]), tmp_path)
        assert found is not None
        assert found.round == 14
    with pytest.raises(SettingError, match=r"^rounds=5, but run_dir=.* has done 14 already: give rounds=14 or more$"):
        _last_checkpoint(load(["rounds=5", "resume=true"]), tmp_path)
