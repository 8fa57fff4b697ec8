"""The same small job on both fleets: processes that are reached by RPC, and objects in this
process."""

from pathlib import Path

import pytest
import torch

from tdml.lab.laboratory import Laboratory
from tdml.ledger.artifacts import ArtifactStore
from tdml.ledger.chain import Ledger
from tdml.ledger.reader import read
from tdml.protocol.identity import Identity
from tdml.rewards.accounts import book_of
from tdml.round.recorder import Recorder
from tdml.run.start_recorder import begin
from tests.jobs import run_job

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "rounds=4",
    "sync.local_steps=6", "train.clip_norm=1", "train.schedule=cosine", "topology.replicas=4",
    "topology.stages=2", "topology.microbatches=2", "trust.budget=0.5", "seed=3",
]  # fmt: skip


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(
            [
                "attack=label_flip",
                "attack.nodes=[r1.s1]",
                "attack.from_round=2",
                "topology.spares=1",
            ],
            marks=pytest.mark.slow,
        ),
        # which waits for the honest, whose updates it knows
        [
            "attack=mean_shift",
            "attack.replicas=[0]",
            "attack.from_round=2",
            "sync.inner_state=kept",
        ],
        pytest.param(["attack=lying_validator", "attack.nodes=[r3.s0]"], marks=pytest.mark.slow),
    ],
    ids=lambda given: given[0],
)
def test_both_fleets_play_the_same_job_bit_for_bit(attack: list[str], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    overrides = [*_JOB, *attack, f"identity.folder={keys}"]
    ranks = 9 + ("topology.spares=1" in attack)
    result = run_job(tmp_path / "run", ranks, *overrides, seconds=150)
    assert result.statuses == [0] * ranks, result.output
    assert result.summary["banned"], result.why()

    with read(result.run / "ledger.db") as reader:
        expected = reader.entries()
    laboratory, ledger = _laboratory(tmp_path, keys, overrides, expected)
    laboratory.run(4)

    found = [(entry.round, entry.kind, entry.body) for entry in ledger.entries()]
    assert found == [(e.round, e.kind, e.body) for e in expected if e.kind != "end"][: len(found)]
    assert len(found) == len([e for e in expected if e.round < 5])
    model = laboratory.job.write_weights(laboratory.engine.weights)
    assert all(torch.equal(model[name], tensor) for name, tensor in result.model.items())


def _laboratory(
    folder: Path, keys: Path, overrides: list[str], expected: list
) -> tuple[Laboratory, Ledger]:
    """The same job with the same keys, in a ledger of its own."""
    pairs = [Identity.load(str(keys), path.stem) for path in keys.glob("*.pem")]
    by_public = {identity.public: identity for identity in pairs}
    terms, roster = expected[0].body, expected[1].body
    coordinator, job_id = by_public[terms["coordinator"]], expected[0].job
    identities = {name: by_public[key] for name, key in roster["keys"].items()}
    ledger = Ledger.open(folder / "again.db", coordinator, job_id)
    begin(ledger, terms, roster)
    book = book_of([(entry.round, entry.kind, entry.body) for entry in ledger.entries()])
    recorder = Recorder(
        ledger, book, ArtifactStore(str(folder / "artifacts")), coordinator, job_id, roster["keys"]
    )
    return Laboratory(overrides, recorder=recorder, identities=identities, job_id=job_id), ledger
