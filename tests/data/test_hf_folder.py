"""Folders of Hugging Face's datasets."""

import sys

import pytest
import torch

from tdml.data.source import load
from tdml.errors import SettingError
from tdml.tasks import Classification, Language, Regression


def library():
    return pytest.importorskip("datasets", reason="needs pip install 'tdml[data]'")


def loaded(path, task=None, **settings):
    given = {"inputs": "input_ids", "target": None, "held_out": 0.25, "path": str(path)} | settings
    return load({"_target_": "tdml.data.hf", **given}, 0, task or Language())


def ids(count, first=0):
    return [[first + i, 1, 2, 3] for i in range(count)]


def test_token_ids_of_one_dataset(tmp_path):
    library().Dataset.from_dict({"input_ids": ids(20)}).save_to_disk(tmp_path / "x")
    source = loaded(tmp_path / "x")
    assert (len(source.train), len(source.test)) == (15, 5)
    held = {source.test[i][0].item() for i in range(5)}
    assert held | {source.train[i][0].item() for i in range(15)} == set(range(20))
    inputs, targets = source.training_batch([3, 0], seed=0)
    assert torch.equal(inputs[:, 1:], targets[:, :-1]) and inputs.shape == (2, 3)


def test_splits_have_names_and_validation_judges(tmp_path):
    kind = library()
    parts = {
        name: kind.Dataset.from_dict({"input_ids": ids(count, first)})
        for name, count, first in (("train", 9, 0), ("validation", 5, 30), ("test", 6, 60))
    }
    kind.DatasetDict(parts).save_to_disk(tmp_path / "x")
    source = loaded(tmp_path / "x")
    sizes = (len(source.train), source.size("validation"), source.size("test"))
    assert sizes == (9, 5, 6)
    assert source.held_out_batch("validation", [0])[0][0, 0] == 30
    del parts["test"]
    kind.DatasetDict(parts).save_to_disk(tmp_path / "y")
    assert loaded(tmp_path / "y").size("test") == 3
    del parts["validation"]
    kind.DatasetDict(parts).save_to_disk(tmp_path / "z")
    with pytest.raises(SettingError, match="has the splits train: train and test are needed"):
        loaded(tmp_path / "z")


def test_numbers_classes_and_images(tmp_path):
    kind = library()
    from PIL import Image

    rows = {
        "x": [[0.5 * i, 1.0] for i in range(8)],
        "y": [[float(i), 2.0] for i in range(8)],
        "label": [i % 2 for i in range(8)],
        "image": [Image.new("RGB", (4, 3), (255, 0, 51)) for _ in range(8)],
        "words": ["a"] * 8,
    }
    kind.Dataset.from_dict(rows).save_to_disk(tmp_path / "x")
    numbers = loaded(tmp_path / "x", Regression(), inputs="x", target="y")
    inputs, targets = numbers.training_batch([0, 1], seed=0)
    assert inputs[:, 0].tolist() == [value / 2 for value in targets[:, 0].tolist()]
    classes = loaded(tmp_path / "x", Classification(), inputs="image", target="label")
    images, _ = classes.training_batch([0, 1], seed=0)
    assert images.shape == (2, 3, 3, 4)
    assert images[0, :, 0, 0].tolist() == pytest.approx([1.0, 0.0, 0.2])
    assert sorted({*classes.strata, *classes.test_strata}) == [0, 1]
    with pytest.raises(SettingError, match="its words is a str: have tokens or numbers in"):
        _ = loaded(tmp_path / "x", Classification(), inputs="words", target="label").strata
    with pytest.raises(SettingError, match="its label is the text 'a': number the classes"):
        _ = loaded(tmp_path / "x", Classification(), inputs="x", target="words").strata


def test_what_cannot_be_read_is_the_users_mistake(tmp_path):
    library().Dataset.from_dict({"input_ids": ids(20)}).save_to_disk(tmp_path / "x")
    (tmp_path / "empty").mkdir()
    for path, settings, message in (
        (tmp_path / "nowhere", {}, "nowhere is no folder: give one that dataset.save_to_disk"),
        (tmp_path / "empty", {}, "is no folder that dataset.save_to_disk has written: "),
        (tmp_path / "x", {"inputs": "text"}, "data.inputs=text is no column of the data: choose"),
        (tmp_path / "x", {"target": "label"}, "data.target=label is no column of the data"),
        (tmp_path / "x", {"held_out": 2}, "data.held_out=2 must be a share"),
        (
            tmp_path / "x",
            {"held_out": 0.01},
            "is too small: it needs a training sample and two test",
        ),
    ):
        with pytest.raises(SettingError) as caught:
            loaded(path, **settings)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_without_the_library_it_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SettingError, match=r"data=hf needs .*: pip install 'tdml\[data\]'"):
        loaded("x")


@pytest.mark.parametrize("column", ["input_ids", "label"])
def test_what_is_missing_is_named_by_its_row_in_the_folder(column, tmp_path):
    columns = {"input_ids": ids(20), "label": [i % 2 for i in range(20)]}
    columns[column] = [None if i == 7 else value for i, value in enumerate(columns[column])]
    library().Dataset.from_dict(columns).save_to_disk(tmp_path / "x")
    with pytest.raises(SettingError, match=f"row 7 has no {column}: fill it in, or leave it out"):
        source = loaded(tmp_path / "x", Classification(), target="label")
        source.training_batch(range(15), seed=0)
        for split in ("test", "validation"):
            source.held_out_batch(split, range(source.size(split)))
