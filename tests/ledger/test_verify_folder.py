import hashlib

import pytest
import torch

from tdml.errors import SettingError
from tdml.ledger.chain import Ledger
from tdml.ledger.verify import Wrong, verify, verify_run
from tdml.ledger.weights import digest_of_weights
from tests.ledger import chains

MODEL = {"weight": torch.tensor([1.0, 2.0])}


def run(folder, model=MODEL, config=chains.CONFIG, told=chains.CONFIG):
    """A run folder that is as it should be, but for what is given. `told` is the config.yaml of
    which the ledger says the hash."""
    with Ledger.open(folder / "ledger.db", chains.COORDINATOR, chains.JOB) as made:
        chains.begin(made, config=hashlib.sha256(told).hexdigest())
        chains.before_commits(made, 1)
        chains.commit_all(made, 1)
        chains.after_commits(made, 1, weights=digest_of_weights(MODEL))
        made.end(digest_of_weights(MODEL), "done")
    (folder / "config.yaml").write_bytes(config)
    if model is not None:
        torch.save(model, folder / "model.pt")
    return folder


def test_a_run_folder_is_well(tmp_path):
    assert verify_run(run(tmp_path), chains.PlainBook).ended


@pytest.mark.parametrize(
    "model", [None, {"weight": torch.tensor([1.0, 2.1])}, {}, [1], "hello", {"weight": 3}]
)
def test_another_model_is_found(tmp_path, model):
    with pytest.raises(Wrong, match=r"^model\.pt is not the model of the last round"):
        verify_run(run(tmp_path, model), chains.PlainBook)


def test_a_model_that_is_no_file_of_torch_is_found(tmp_path):
    (run(tmp_path) / "model.pt").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(Wrong, match=r"^model\.pt is not"):
        verify_run(tmp_path, chains.PlainBook)


def test_another_config_is_found_but_a_resume_may_bring_one(tmp_path):
    other = chains.CONFIG.replace(b"name: test", b"name: other")
    run(tmp_path, config=other)
    with pytest.raises(Wrong, match=r"^config\.yaml is not the one"):
        verify_run(tmp_path, chains.PlainBook)
    with Ledger.open(tmp_path / "ledger.db", chains.COORDINATOR, chains.JOB) as made:
        made.resume(1, hashlib.sha256(other).hexdigest())
    assert not verify_run(tmp_path, chains.PlainBook).ended
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(Wrong, match=r"^config\.yaml is not the one"):
        verify_run(tmp_path, chains.PlainBook)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("pool: 1000", "pool: 1000000", "says pool 1000000, and the ledger 1000"),
        ("policy: work", "policy: equal", "says policy equal, and the ledger work"),
        ("stake: 500", "stake: 0", "says stake 0, and the ledger 500"),
        ("replicas: 2", "replicas: 3", "says replicas 3, and the ledger 2"),
        ("max_replicas: null", "max_replicas: 5", "says replicas 5, and the ledger 2"),
        ("stages: 2", "stages: 1", "says stages 1, and the ledger 2"),
        ("budget: 0.5", "budget: 0.2", r"says trust\.budget=0\.2, and the ledger chance 0\.25"),
        ("rounds: 3", "'", "is not a run, or is damaged"),
    ],
)
def test_the_terms_are_those_that_the_nodes_were_told(tmp_path, before, after, says):
    config = chains.CONFIG.replace(before.encode(), after.encode(), 1)
    assert config != chains.CONFIG
    run(tmp_path, config=config, told=config)
    with pytest.raises(Wrong, match=says):
        verify_run(tmp_path, chains.PlainBook)


def test_a_stake_that_the_job_has_settled_is_the_ledgers(tmp_path):
    config = chains.CONFIG.replace(b"stake: 500", b"stake: null")
    run(tmp_path, config=config, told=config)
    assert verify_run(tmp_path, chains.PlainBook).ended


def test_a_folder_without_a_ledger_is_the_users_to_mend(tmp_path):
    with pytest.raises(SettingError, match=r"ledger\.db does not exist: give the folder of a run"):
        verify_run(tmp_path, chains.PlainBook)


def test_a_resume_may_name_other_settings(tmp_path):
    other = chains.digest("other settings")
    with Ledger.open(tmp_path / "ledger.db", chains.COORDINATOR, chains.JOB) as made:
        chains.begin(made)
        chains.play(made, 1)
        before = verify(made.path, chains.PlainBook).config
        made.resume(1)
        assert verify(made.path, chains.PlainBook).config == before
        made.resume(1, other)
        assert verify(made.path, chains.PlainBook).config == other != before
