"""Samples that are rows of a user's file: what a user gives for rows is of those rows."""

import json

import numpy as np
import pytest

from tdml.data import csv
from tdml.data.faults import name_samples
from tdml.data.hf_folder import hf
from tdml.data.sample import look
from tdml.data.sample_weights import read_sample_weights
from tdml.data.shares import given_shares
from tdml.errors import SettingError
from tdml.tasks import Classification

ROWS, TRAINING = 40, 30


def table(tmp_path):
    """Of which a feature is the row's number."""
    text = "row,kind\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(ROWS))
    (tmp_path / "table.csv").write_text(text)
    train, _ = csv(str(tmp_path / "table.csv"), "kind", True, 0.25, scaled=False)
    return train, [int(train[i][0]) for i in range(len(train))]


def folder(tmp_path):
    library = pytest.importorskip("datasets", reason="needs pip install 'tdml[data]'")
    columns = {"x": [[float(i), 1.0] for i in range(ROWS)], "kind": [i % 2 for i in range(ROWS)]}
    library.Dataset.from_dict(columns).save_to_disk(tmp_path / "x")
    train, _ = hf(str(tmp_path / "x"), "x", "kind", 0.25)
    return train, [int(train[i][0][0]) for i in range(len(train))]


both = pytest.mark.parametrize("loaded", [table, folder])


def written(tmp_path, values):
    np.save(tmp_path / "weights.npy", values)
    return str(tmp_path / "weights.npy")


@both
def test_weights_are_of_the_rows_of_the_file(loaded, tmp_path):
    train, rows = loaded(tmp_path)
    assert len(rows) == TRAINING and rows != sorted(rows)
    assert read_sample_weights(written(tmp_path, np.arange(ROWS)), train).tolist() == rows


@both
def test_weights_that_cannot_be_are_named_by_their_rows(loaded, tmp_path):
    train, rows = loaded(tmp_path)
    with pytest.raises(SettingError, match=f"there are {ROWS} rows in data.path: give one number"):
        read_sample_weights(written(tmp_path, np.arange(TRAINING)), train)
    place = {table: "line 9", folder: "row 7"}[loaded]
    with pytest.raises(SettingError, match=f"the weight of {place} is -1.0: give finite numbers"):
        read_sample_weights(written(tmp_path, np.where(np.arange(ROWS) == 7, -1.0, 1.0)), train)
    with pytest.raises(SettingError, match="all weights are 0"):
        held_out = np.isin(np.arange(ROWS), rows, invert=True)
        read_sample_weights(written(tmp_path, held_out.astype(float)), train)


@both
def test_shares_are_of_the_rows_of_the_file(loaded, tmp_path):
    train, rows = loaded(tmp_path)
    halves = [list(range(ROWS // 2)), list(range(ROWS // 2, ROWS))]
    (tmp_path / "shares.json").write_text(json.dumps(halves))
    shares = given_shares(str(tmp_path / "shares.json"), train, 2, 1, seed=0)
    found = [sorted(rows[sample] for sample in share) for share in shares]
    assert found == [[row for row in half if row in rows] for half in halves]
    (tmp_path / "shares.json").write_text(f"[[0], [{ROWS}]]")
    with pytest.raises(SettingError, match=r"data\.shares has 40, and the 40 rows are 0 to 39"):
        given_shares(str(tmp_path / "shares.json"), train, 2, 1, seed=0)


@both
def test_samples_are_named_by_their_places_in_the_file(loaded, tmp_path, monkeypatch):
    train, rows = loaded(tmp_path)
    kind, first = {table: ("line", 2), folder: ("row", 0)}[loaded]
    assert name_samples(train, [3]) == f"sample 3 ({kind} {rows[3] + first}) has"
    places = f"({kind}s {rows[3] + first}, {rows[1] + first})"
    assert name_samples(train, [3, 1]) == f"samples 3, 1 {places} have"
    monkeypatch.setattr(type(train), "__getitem__", lambda self, index: None)
    with pytest.raises(SettingError, match=rf"training sample 3 \({kind} {rows[3] + first}\)"):
        look(train, 3, "training", Classification())


def test_samples_of_other_data_sets_are_known_by_their_numbers(tmp_path):
    """Whatever they have under the same name."""

    class Own(list):
        origin = "Tübingen"

    assert name_samples(Own(range(5)), [3, 1]) == "samples 3, 1 have"
    assert read_sample_weights(written(tmp_path, np.arange(5)), Own(range(5))).tolist() == [
        0, 1, 2, 3, 4,
    ]  # fmt: skip
