"""Jobs in which honest replicas differ more than on the digits, and are not accused for it."""

from dataclasses import replace

import pytest

from tdml.lab.grids import CLEAN, Case
from tdml.lab.runs import run_case
from tests.slow import slow_but

_DATA = ("data._target_=tests.lab.other_jobs.clusters", "~data.size", "model.features=20")
_JOBS = {
    # Nearly all outputs belong to classes that never occur, and move alike.
    "an output layer that is far too large": (
        Case("digits-mlp", 4, 0, 3, CLEAN, "tdml", 777, 14),
        [
            "+data.classes=10",
            "+data.rarest=1",
            "+data.gap=2.5",
            "model.num_classes=500",
            "model.depth=1",
        ],
        ["train.batch_size=2"],
    ),
    # Without skip connections the network is stuck: nothing but the last layer's bias moves.
    "a network that is too deep to learn": (
        Case("digits-mlp", 5, 0, 3, CLEAN, "tdml", 577, 12),
        [
            "+data.classes=4",
            "+data.rarest=1",
            "+data.gap=0.5",
            "model.num_classes=4",
            "model.depth=8",
        ],
        ["model.hidden=16", "train.batch_size=8"],
    ),
    # Some replicas have the rare class only, and most have hardly any of it.
    "a rare class, in skewed shares": (
        Case("digits-mlp", 8, 0, 10, CLEAN, "tdml", 265, 5, partition="dirichlet", alpha=0.1),
        [
            "+data.classes=2",
            "+data.rarest=0.1",
            "+data.gap=0.8",
            "model.num_classes=2",
            "train.weight_decay=0.01",
        ],
        [],
    ),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", slow_but(["a rare class, in skewed shares"], _JOBS))
def test_nobody_honest_is_accused(name):
    case, job, more = _JOBS[name]
    result = run_case(replace(case, extra=(*_DATA, *job, *more)))
    assert "error" not in result and "skipped" not in result, result
    assert [found["banned"] for found in result["honest"] if found["banned"]] == []
    assert any(found["suspicious"] or found["beyond"] for found in result["honest"]), (
        "nothing has stood out"
    )
