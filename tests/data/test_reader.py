import torch
from torch.utils.data import TensorDataset

from tdml.data.pieces import held_out
from tdml.data.reader import Reader
from tdml.data.source import Source


def test_a_model_that_works_in_place_does_not_change_what_is_read_next():
    samples = TensorDataset(torch.arange(8.0).view(4, 2), torch.arange(4))
    reader = Reader(Source(samples, samples, seed=0), seed=0)
    asked = held_out("test", range(2), 2)

    def inputs():
        [(value, _)] = reader.evaluation_batches(asked, 2, again=True)
        return value

    first = inputs()
    expected = first.clone()
    first.zero_()
    assert torch.equal(inputs(), expected)
