"""A recipe with everything in it: audits repeat it bit for bit, and find who does not follow it."""

from pathlib import Path

import pytest

from tests.jobs import Result, run_job
from tests.run_ledgers import entries

_RECIPE = [
    "train.optimizer.nesterov=true", "train.weight_decay=0.1", "train.decay_norms_and_biases=false",
    "train.schedule=cosine", "train.warmup=3", "train.accumulate=2", "train.clip_norm=0.5",
    "train.label_smoothing=0.1", "train.precision=bf16", "train.channels_last=true",
    "sync.inner_state=kept",
]  # fmt: skip
_JOB = [
    "model=cnn", "model.width=8", "data.size=16", "topology.replicas=3", "topology.stages=2",
    "sync.local_steps=6", "trust.budget=1", "train.lr=0.02", *_RECIPE,
]  # fmt: skip
_ADAMW = [
    "train.optimizer=adamw",
    "train.optimizer.amsgrad=true",
    "~train.optimizer.nesterov",
    "train.lr=0.003",
]
_slow = pytest.mark.slow


def _run(folder: Path, *overrides: str) -> Result:
    result = run_job(folder / "run", 7, *_JOB, *overrides, seconds=120)
    assert result.statuses == [0] * 7, result.output
    return result


@pytest.mark.parametrize(
    "overrides",
    [
        ["topology.schedule=interleaved_1f1b"],
        pytest.param(_ADAMW, marks=_slow),
    ],
    ids=["sgd", "adamw"],
)
def test_all_steps_are_repeated_bit_for_bit(overrides: list[str], tmp_path: Path) -> None:
    result = _run(tmp_path, "rounds=2", *overrides)
    assert result.summary["banned"] == []
    audits = [entry.body for entry in entries(result.run, "audit")]
    assert len(audits) == 2 * 3
    for audit in audits:
        assert (audit["outcome"], audit["reason"]) == ("clean", "")
    assert {entry.body["samples"] for entry in entries(result.run, "verdict")} == {6 * 2 * 32}


@pytest.mark.parametrize(
    "overrides",
    [
        ["attack._target_=tests.hostile_workers.Hostile", "+attack.kind=Liar", "+attack.deed=norm"],
        pytest.param(["attack=sign_flip"], marks=_slow),
        pytest.param(["attack=sign_flip", *_ADAMW], marks=_slow),
    ],
    ids=["norms", "sign flip", "sign flip under adamw"],
)
@pytest.mark.parametrize("node", ["r1.s0", pytest.param("r1.s1", marks=_slow)])
def test_who_does_otherwise_is_named(overrides: list[str], node: str, tmp_path: Path) -> None:
    result = _run(tmp_path, "rounds=1", *overrides, f"attack.nodes=[{node}]")
    assert result.summary["banned"] == [node], result.why()
    [line] = result.rounds
    assert line["replicas"]["1"]["nodes"] == [node]
    assert line["accepted"] == [0, 2]
