import json
import sys
from pathlib import Path

import pytest

from tdml import config as settings
from tdml.bench import averaging, averaging_page
from tdml.data.source import load_source
from tdml.errors import SettingError
from tdml.run.prepare import prepare
from tests.jobs import run_command

_RESULT = averaging.AveragingResult(
    numbers=1000,
    local_steps=10,
    samples=480,
    sample="a tensor (8,)",
    rare=[2.0, 1.01],
    every_step=[1.5, 1.0],
    rare_bytes=3_000_000_000,
    every_step_bytes=30_000_000_000,
)
_SMALL = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "topology.replicas=2",
    "topology.stages=1",
]  # fmt: skip


def test_what_is_said_by_hand() -> None:
    assert _RESULT.worse == pytest.approx(0.01)
    assert _RESULT.sentence == (
        "averaged every 10 steps, the test loss of 1,000 numbers ends at 1.0100, +1.0% of the "
        "1.0000 when averaged in every step, with 3 GB sent and received in the place of 30 GB: "
        "10.0 × less"
    )


def test_replicas_that_take_different_numbers_of_steps_are_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    shares = tmp_path / "shares.json"
    shares.write_text(json.dumps([list(range(64)), list(range(64, 200))]))
    with pytest.raises(SettingError, match="take different numbers of steps a round: set it"):
        averaging.run([*_SMALL, f"data.shares={shares}"], None, None)


def test_samples_are_those_of_all_steps_of_all_replicas() -> None:
    config = settings.load([*_SMALL, "sync.local_steps=5", "rounds=2"])
    job = prepare(config, load_source(config), checkpoint=None)
    assert averaging.samples_of(job) == 2 * 2 * 5 * 32


@pytest.mark.parametrize("where", ["nowhere/docs", "file", "file/docs"])
def test_a_page_that_cannot_be_kept_is_refused_before_anything_is_measured(
    tmp_path, monkeypatch, where
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setattr(averaging, "play", lambda overrides: pytest.fail("it was measured"))
    with pytest.raises(SettingError, match=f"^--keep {where}: give a folder"):
        averaging.run(_SMALL, None, Path(where))


@pytest.mark.parametrize(
    ("rare", "every_step", "who"),
    [(None, 0.5, "the job"), (0.5, float("nan"), "averaged in every step, training")],
)
def test_training_that_diverges_is_no_result(tmp_path, monkeypatch, rare, every_step, who) -> None:
    monkeypatch.chdir(tmp_path)

    def leave(overrides: list[str]) -> int:
        folder = Path(settings.load(overrides).run_dir)
        folder.mkdir(parents=True)
        line = {"round": 1, "test_loss": rare, "bytes": {"up": 1, "down": 1}}
        (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        return 0

    monkeypatch.setattr(averaging, "play", leave)
    monkeypatch.setattr(averaging, "per_step", lambda job: [every_step])
    with pytest.raises(SettingError, match=f"^{who} diverges: .* lower train.lr$"):
        averaging.run([*_SMALL, "rounds=1", "sync.local_steps=2"], None, None)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_job_its_loop_and_the_page(tmp_path) -> None:
    job = [
        *_SMALL, "sync.local_steps=5", "sync.outer=nesterov", "rounds=2", "name=small",
        f"identity.folder={tmp_path / 'keys'}",
    ]  # fmt: skip
    command = [sys.executable, "-m", "tdml.cli", "bench", "averaging", *job]
    result = run_command(*command, "--json", "found.json", "--keep", "docs", cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    lines = (tmp_path / "runs" / "small" / "metrics.jsonl").read_text().splitlines()
    assert found["rare"] == [json.loads(line)["test_loss"] for line in lines]
    assert len(found["every_step"]) == 2 and found["samples"] == 2 * 2 * 5 * 32
    # an update of each replica up and the weights down to it, in float32; the first weights, too
    assert found["every_step_bytes"] == 10 * 2 * 2 * 4 * found["numbers"]
    assert found["rare_bytes"] == (2 * 2 + 1) * 2 * 4 * found["numbers"]
    page = (tmp_path / "docs" / "results" / "averaging.md").read_text()
    assert (
        json.loads((tmp_path / "docs" / "results" / "averaging" / "small.json").read_text())
        == found
    )
    assert "## `small`" in page and f"| 2 | 10 | {found['rare'][1]:.4f} |" in page
    assert found["said"] in result.stdout


def test_a_long_table_has_few_rows() -> None:
    found = vars(_RESULT) | {
        "rare": [2.0] * 25, "every_step": [2.0] * 25, "name": "long", "said": "it", "commit": None,
        "settings": ["rounds=25"],
        "machine": {"gpu": None, "processor": "one", "versions": {"torch": "2"}},
    }  # fmt: skip
    rows = [line for line in averaging_page.page_text([found]).splitlines() if "2.0000" in line]
    assert [row.split()[1] for row in rows] == ["3", "6", "9", "12", "15", "18", "21", "24", "25"]
