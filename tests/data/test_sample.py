import re

import numpy as np
import pytest
import torch

from tdml.data.sample import Form, advice, look
from tdml.errors import SettingError
from tdml.tasks import Classification, Regression


class Broken:
    """Cannot be read."""

    def __init__(self, error):
        self.error = error

    def __getitem__(self, index):
        raise self.error


@pytest.mark.parametrize(
    ("sample", "form", "label"),
    [
        ((torch.zeros(2, 3), 4), Form((2, 3), torch.float32), 4),
        ([np.zeros(2), np.int8(4)], Form((2,), torch.float64), 4),
        ((7, torch.tensor(4)), Form((), torch.int64), 4),
        ((torch.zeros(2), 4.0), Form((2,), torch.float32), 4),
        ((torch.zeros(2), True), Form((2,), torch.float32), 1),
    ],
    ids=["tensor", "numpy", "number", "float label", "bool label"],
)
def test_a_pair_of_a_tensor_and_a_class(sample, form, label):
    found, target = look([sample], 0, "training", Classification())
    assert (found, target.tolist(), target.dtype) == (form, [label], torch.int64)


X = torch.zeros(2)


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        *(
            (sample, f"it is a {kind}: return a tuple of two, a tensor and its label (")
            for sample, kind in [
                ({"image": X, "label": 3}, "dict of 2"),
                ((X, 3, 1.0), "tuple of 3"),
                ((X, X, 3), "tuple of 3"),
                ((X,), "tuple of 1"),
                (X, "Tensor"),
                (np.zeros(2), "ndarray"),
                (None, "NoneType"),
            ]
        ),
        (
            ((X, X), 3),
            "its input is a tuple of tensors: a model that takes several tensors is given",
        ),
        (
            ({"a": X, "b": X}, 3),
            "its input is a dict of tensors: a model that takes several tensors",
        ),
        *(
            ((X, label), f"its label {shown} is no class, which is a whole number from 0: number")
            for label, shown in [
                ("cat", "'cat'"),
                ("3", "'3'"),  # or it would read as if 3 were none
                (torch.eye(3)[1], "[0.0, 1.0, 0.0]"),
                ([0, 1, 0], "[0, 1, 0]"),
                ([1], "[1]"),
                ((1,), "(1,)"),
                (torch.tensor([0.5]), "0.5"),
                (-1, "-1"),
                (torch.tensor(-100), "-100"),
                (10**20, 10**20),
                (0.5, "0.5"),
                (float("nan"), "nan"),
                (None, "None"),
            ]
        ),
        (([1.0, 2.0], 3), "its input is a list: return a tensor, such as with torch.tensor"),
        (
            (object(), 3),
            (
                "its input is a object: return a tensor, such as with torch.tensor, or of an image "
                "with torch"
            ),
        ),
        (("text", 3), "its input is a str: return a tensor"),
        (
            (X.cfloat(), 3),
            "its input is torch.complex64, which nodes do not exchange: convert it",
        ),
        ((np.zeros(4)[::-1], 3), "At least one stride in the given numpy array is negative"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else type(value).__name__,
)
def test_a_sample_that_is_something_else_says_what_to_do(sample, why):
    with pytest.raises(SettingError) as caught:
        look([(X, 0), sample], 1, "test", Classification())
    assert str(caught.value).startswith(
        f"data: test sample 1 cannot be read as (tensor, label): {why}"
    )
    assert "\n" not in str(caught.value)


def test_a_target_beyond_all_whole_numbers_is_to_be_a_fraction():
    with pytest.raises(SettingError, match="its target is a whole number beyond"):
        look([(X, 10**20)], 0, "test", Regression())
    assert look([(X, 1e20)], 0, "test", Regression())[1].item() == pytest.approx(1e20)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError("image file is\ntruncated"), "OSError: image file is truncated"),
        (SystemExit(3), "RuntimeError: it ends the program (status 3): what"),
    ],
)
def test_a_sample_that_cannot_be_read_is_named(error, why):
    text = f"data: training sample 7 cannot be read: {why}"
    with pytest.raises(SettingError, match=f"^{re.escape(text)}"):
        look(Broken(error), 7, "training", Classification())


@pytest.mark.parametrize(
    ("dtype", "how"),
    [
        (
            torch.float64,
            (
                ": the inputs are torch.float64, and the weights torch.float32: convert them in "
                "the dataset"
            ),
        ),
        (
            torch.uint8,
            (
                ": the inputs are torch.uint8, and the weights torch.float32: scale them in the "
                "dataset"
            ),
        ),
        (
            torch.int64,
            (
                ": the inputs are torch.int64, and the weights torch.float32: a layer that is no "
                "embedding"
            ),
        ),
        (torch.float32, ""),
    ],
)
def test_types_that_a_model_may_not_take(dtype, how):
    assert advice(dtype).startswith(how) and bool(how) == bool(advice(dtype))
