"""What a run that is resumed goes on from."""

from dataclasses import replace
from pathlib import Path

import pytest

from tdml.config import load
from tdml.data.contents import Contents
from tdml.errors import SettingError
from tdml.members.cards import Card
from tdml.round.checkpoint import save
from tdml.run.end_coordinator import interrupted
from tdml.run.start_coordinator import _last_checkpoint, _warning
from tdml.settings.file import differing
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


_CONTENTS = Contents(90, 10, "labels", "test labels", "inputs", "test inputs", "weights")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"training_samples": 95}, True),
        ({"test_inputs": "others"}, True),
        ({"training_labels": "others"}, True),
        ({"sample_weights": "others"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_with_other_samples_those_trained_on_may_be_held_out(changes: dict, told: bool) -> None:
    one = Card("settings", "", _CONTENTS, "mine 1a")
    other = Card("settings", "", replace(_CONTENTS, **changes), "mine 2b")
    warning = _warning(differing(one.work, other.work))
    assert all(name in warning for name in ["mine", *(f"data.{name}" for name in changes)])
    assert ("may be held out now" in warning) == told


def test_an_interrupted_run_says_what_to_do_next() -> None:
    assert interrupted(7, "go on") == "interrupted after round 7: go on"
    assert interrupted(0, "go on") == "interrupted before the first round was done: go on"
