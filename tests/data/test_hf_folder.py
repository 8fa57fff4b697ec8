"""Folders of Hugging Face's datasets."""

import sys

import numpy as np
import pytest
import torch

from tdml.data.hf_folder import _tensor
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
    with pytest.raises(SettingError, match="its label 'a' is no class, which is a whole"):
        _ = loaded(tmp_path / "x", Classification(), inputs="x", target="words").strata


def test_what_cannot_be_read_is_the_users_mistake(tmp_path):
    library().Dataset.from_dict({"input_ids": ids(20)}).save_to_disk(tmp_path / "x")
    (tmp_path / "empty").mkdir()
    for path, settings, message in (
        (tmp_path / "nowhere", {}, "nowhere is no folder: give one that dataset.save_to_disk"),
        (tmp_path / "empty", {}, "is no folder that dataset.save_to_disk has written: "),
        (tmp_path / "x", {"inputs": "text"}, "data.inputs=text is no column of the data: choose"),
        (tmp_path / "x", {"target": "label"}, "data.target=label is no column of the data"),
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


def test_columns_may_be_called_by_numbers(tmp_path):
    library().Dataset.from_dict({"0": ids(20), "1": [0, 1] * 10}).save_to_disk(tmp_path / "x")
    assert loaded(tmp_path / "x", Classification(), inputs=0, target=1).strata


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


def coloured(mode):
    """A picture of one colour in a mode of PIL's, and what its values from 0 to 1 are."""
    from PIL import Image

    red = Image.new("RGB", (4, 3), (255, 0, 51))
    if mode == "P transparent":
        picture = red.convert("P", palette=Image.Palette.ADAPTIVE)
        picture.info["transparency"] = 0
        return picture, None
    if mode.startswith("I;16"):
        return Image.fromarray(np.full((3, 4), 2**16 - 1, np.uint16)), [1.0]
    picture = (
        red.convert(mode, palette=Image.Palette.ADAPTIVE) if mode == "P" else red.convert(mode)
    )
    grey = [82 / 255]
    values = {"RGB": [1, 0, 0.2], "P": [1, 0, 0.2], "RGBA": [1, 0, 0.2, 1], "L": grey}
    values |= {"LA": [*grey, 1], "CMYK": [0, 1, 0.8, 0]}
    return picture, values.get(mode)


@pytest.mark.parametrize(
    ("mode", "channels"),
    [("RGB", 3), ("P", 3), ("P transparent", 4), ("RGBA", 4), ("L", 1), ("LA", 2), ("CMYK", 4),
     ("1", 1), ("I;16", 1), ("YCbCr", 3), ("HSV", 3)],
)  # fmt: skip
def test_images_are_numbers_from_0_to_1_whatever_their_mode(mode, channels):
    pytest.importorskip("PIL")
    picture, values = coloured(mode)
    pixels = _tensor(picture, "image")
    assert pixels.shape == (channels, 3, 4) and pixels.dtype == torch.float32
    assert pixels.min() >= 0 and 0.2 < pixels.max() <= 1, "indices of palettes are tiny"
    if values:
        assert pixels[:, 0, 0].tolist() == pytest.approx(values, abs=0.01)


def test_of_black_and_white_white_is_1():
    image = pytest.importorskip("PIL.Image")
    assert _tensor(image.new("1", (4, 3), 1), "image").tolist() == [[[1.0] * 4] * 3]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_images_whose_largest_value_nobody_knows_are_refused(mode):
    image = pytest.importorskip("PIL.Image")
    with pytest.raises(TypeError, match=f"its scan is an image of PIL's mode {mode}, .*: convert"):
        _tensor(image.new(mode, (4, 3)), "scan")


@pytest.mark.parametrize(
    "seen", [{"type": "torch", "columns": ["x"]}, {"type": "torch"}, {"type": "pandas"}]
)
def test_how_rows_were_looked_at_before_does_not_matter(seen, tmp_path):
    """A folder keeps what set_format has said."""
    from PIL import Image

    images = [Image.fromarray(np.full((2, 2, 3), 51 * (i % 5), np.uint8)) for i in range(20)]
    rows = library().Dataset.from_dict({"x": images, "y": [i % 2 for i in range(20)]})
    rows.with_format(**seen).save_to_disk(tmp_path / "x")
    source = loaded(tmp_path / "x", Classification(), inputs="x", target="y")
    inputs, _ = source.training_batch(range(15), seed=0)
    assert (inputs.shape, inputs.dtype) == ((15, 3, 2, 2), torch.float32)
    assert inputs.max() == 0.8
