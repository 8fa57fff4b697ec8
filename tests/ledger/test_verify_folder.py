import hashlib

import pytest
import torch

from tdml.errors import SettingError
from tdml.ledger.chain import Ledger
from tdml.ledger.verify import Wrong, verify, verify_run
from tdml.ledger.weights import digest_of_weights
from tests.ledger import chains

MODEL = {"weight": torch.tensor([1.0, 2.0])}


def run(folder, model=MODEL, config=chains.CONFIG):
    """A run folder that is as it should be, but for what is given."""
    with Ledger.open(folder / "ledger.db", chains.COORDINATOR, chains.JOB) as made:
        chains.begin(made)
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
    run(tmp_path, config=b"name: other\n")
    with pytest.raises(Wrong, match=r"^config\.yaml is not the one"):
        verify_run(tmp_path, chains.PlainBook)
    with Ledger.open(tmp_path / "ledger.db", chains.COORDINATOR, chains.JOB) as made:
        made.resume(1, hashlib.sha256(b"name: other\n").hexdigest())
    assert not verify_run(tmp_path, chains.PlainBook).ended
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(Wrong, match=r"^config\.yaml is not the one"):
        verify_run(tmp_path, chains.PlainBook)


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
