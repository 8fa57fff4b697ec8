import torch
from torch.utils.data import TensorDataset

from tdml.data.pieces import held_out, read
from tdml.data.reader import BatchReader
from tdml.data.source import Source


def test_a_model_that_works_in_place_does_not_change_what_is_read_next():
    samples = TensorDataset(torch.arange(8.0).view(4, 2), torch.arange(4))
    source = Source(samples, samples, seed=0)
    reader = BatchReader(source, seed=0)
    asked = held_out(source, "test", torch.arange(2), 2)

    def inputs():
        [(value, _)] = reader.evaluation_batches(asked, 2, again=True)
        return value

    first = inputs()
    expected = first.clone()
    first.zero_()
    assert torch.equal(inputs(), expected)


def test_a_node_needs_no_validation_samples_that_the_coordinator_alone_has():
    samples = TensorDataset(torch.arange(8.0).view(4, 2), torch.arange(4))
    judging = TensorDataset(torch.arange(10.0).view(5, 2) + 100, torch.arange(5))
    whole = Source(samples, samples, seed=0, validation=judging)
    assert (whole.size("test"), whole.size("validation")) == (4, 5)
    asked = held_out(whole, "validation", torch.tensor([4, 0, 2]), 2)
    tested = held_out(whole, "test", torch.arange(4), 4)

    node = BatchReader(Source(samples, samples, seed=0), seed=0)
    inputs, targets = map(torch.cat, zip(*node.evaluation_batches(asked, 2, True), strict=True))
    assert inputs.tolist() == [[108, 109], [100, 101], [104, 105]]
    assert targets.tolist() == [4, 0, 2]
    [(inputs, _)] = node.evaluation_batches(tested, 4, again=False)
    assert torch.equal(inputs, samples.tensors[0])


def test_halves_of_one_test_set_are_known_by_their_numbers():
    samples = TensorDataset(torch.arange(20.0).view(10, 2), torch.arange(10))
    source = Source(samples, samples, seed=0)
    found = []
    for split in ("validation", "test"):
        for piece in held_out(source, split, torch.arange(5), 2):
            assert piece.given is None
            found += read(source, piece)[1].tolist()
    assert sorted(found) == list(range(10))
    assert found[:5] == source.halves["validation"].tolist()
