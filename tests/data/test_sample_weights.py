"""Weights of samples that whoever runs the job gives."""

import numpy as np
import pytest
import torch

from tdml import config as settings
from tdml.data.contents import contents_of, difference
from tdml.data.reader import BatchReader
from tdml.data.sample_weights import read_sample_weights
from tdml.data.source import load_source
from tdml.errors import SettingError
from tdml.settings.file import differing, fingerprint


def written(tmp_path, values, name="weights.npy"):
    np.save(tmp_path / name, values)
    return str(tmp_path / name)


def test_a_number_for_each_sample(tmp_path):
    for values in (np.array([1.5, 0, 3]), np.array([1, 0, 3], np.int32)):
        found = read_sample_weights(written(tmp_path, values), range(3))
        assert found.dtype == torch.float32 and found.tolist() == values.tolist()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2], r"has the shape \(2,\), and there are 3 training samples: give one number for"),
        ([[1, 2, 3]], r"has the shape \(1, 3\), and there are 3 training samples"),
        ([1, -0.5, 2], "the weight of sample 1 is -0.5: give finite numbers from 0"),
        ([1, 2, np.nan], "the weight of sample 2 is nan: give finite numbers from 0"),
        ([np.inf, 2, 1], "the weight of sample 0 is inf: give finite numbers from 0"),
        ([1, 1e300, 1], r"the weight of sample 1 is 1e\+300: give finite numbers from 0"),
        ([0, 0, 0], "all weights are 0, so nothing would be learnt"),
        (["a", "b", "c"], "holds no numbers: give one array of them"),
        ([True, False, True], "holds no numbers"),
    ],
)
def test_weights_that_cannot_be_are_the_users_mistake(values, message, tmp_path):
    with pytest.raises(SettingError, match=message) as caught:
        read_sample_weights(written(tmp_path, np.array(values)), range(3))
    assert str(caught.value).startswith("data.weights=") and "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_the_users_mistake(tmp_path):
    with pytest.raises(
        SettingError, match=r"data.weights=nowhere.npy is no file: give one of numpy"
    ):
        read_sample_weights("nowhere.npy", range(3))
    for content in (b"", b"1,2,3\n", b"\x93NUMPY"):
        (tmp_path / "broken.npy").write_bytes(content)
        with pytest.raises(SettingError, match=r"cannot be read as \.npy"):
            read_sample_weights(str(tmp_path / "broken.npy"), range(3))
    np.savez(tmp_path / "several.npz", np.ones(3))
    with pytest.raises(SettingError, match="holds no numbers: give one array"):
        read_sample_weights(str(tmp_path / "several.npz"), range(3))


def test_a_rank_reads_the_weights_of_its_samples_and_shows_what_they_are(tmp_path):
    def loaded(path):
        config = settings.load(["data=digits", "data.size=8", f"data.weights={path}"])
        return config, load_source(config)

    values = np.random.default_rng(0).random(1437)
    config, source = loaded(written(tmp_path, values))
    found = BatchReader(source, config.seed).weights(torch.tensor([5, 0]))
    assert found.tolist() == values[[5, 0]].astype(np.float32).tolist()
    assert BatchReader(None, 0).weights(torch.tensor([5])) is None

    # where the file lies is each machine's own affair, and what it holds is not
    values[7] += 1
    other_config, other = loaded(written(tmp_path, values, "other.npy"))
    assert differing(fingerprint(config), fingerprint(other_config)) == []
    told = difference(contents_of(source, 0), contents_of(other, 0))
    assert told == "sample weights"
    without = settings.load(["data=digits", "data.size=8"])
    assert differing(fingerprint(config), fingerprint(without)) == ["data.weights"]
