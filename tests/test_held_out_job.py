"""A job whose validation samples the coordinator alone has."""

from pathlib import Path

import pytest

from tdml import config as settings
from tdml.data import source as data
from tdml.models.whole import initial_model
from tests.jobs import SMALL, run_job


def test_nodes_are_judged_by_samples_that_they_do_not_hold(tmp_path: Path) -> None:
    """Cross-check, rewards and the best round take them; there are fewer test samples than
    replicas."""
    job = [
        *SMALL, "data._target_=tests.plugins.judged_apart", "~data.size", "topology.replicas=4",
        "topology.stages=1", "sync.local_steps=12", "trust.budget=0.95", "rounds=2",
        "monitor.best=true", "rewards.policy=improvement",
    ]  # fmt: skip
    result = run_job(tmp_path / "run", 5, *job)
    assert result.statuses == [0] * 5, result.output
    assert not [line for line in result.rounds if "malicious" in str(line)], result.why()
    assert {result.verdicts(i)[-1] for i in range(4)} <= {"honest", "suspicious"}, result.output
    assert "answered evaluate with something else" not in result.output
    # what chance has had repeated in the first round may put off that of the second
    assert result.rounds[0]["seconds"]["cross_check"] > 0.01
    assert result.rounds[0]["spent"] > 0
    assert {line["test_accuracy"] for line in result.rounds} <= {0.0, 0.5, 1.0}
    config = settings.load(job)
    source = data.load(config.data, config.seed)
    model = initial_model(config.model, config.seed).eval()
    model.load_state_dict(result.model)
    inputs, labels = source.held_out_batch("validation", range(source.size("validation")))
    plain = float((model(inputs).argmax(dim=1) == labels).float().mean())
    # 256 of 358 samples were drawn: 0.06 is more than 3.5 standard deviations.
    assert result.rounds[-1]["validation_accuracy"] == pytest.approx(plain, abs=0.06)
