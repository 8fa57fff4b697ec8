import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from tdml.errors import SettingError
from tdml.models.borders import changed_buffers, trace_borders, trace_gradients
from tdml.models.split import Border, blocks_of, build

CNN = {"_target_": "tdml.models.cnn", "num_classes": 10, "channels": 3, "width": 4, "norm": True}
RESNET = {"_target_": "tdml.models.resnet18", "num_classes": 10}


# Users' own blocks


class Autocast(nn.Linear):
    def forward(self, value):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(value)


class Looks(nn.Module):
    """Another shape for large values."""

    def forward(self, value):
        return value[:, :2] if value.max() > 1.5 else value


class Packed(nn.GRU):
    """Sequences that end at their first zero."""

    def forward(self, value):
        lengths = (value != 0).all(2).sum(1).clamp(min=1)
        return super().forward(
            pack_padded_sequence(value, lengths, batch_first=True, enforce_sorted=False)
        )[1][-1]


class ReturnsTwo(nn.Module):
    def forward(self, value):
        return value, value


class ReturnsWholeNumbers(nn.Module):
    def forward(self, value):
        return value.long()


class ReturnsComplexNumbers(nn.Module):
    def forward(self, value):
        return torch.fft.fft(value)


class Detaches(nn.Linear):
    def forward(self, value):
        return super().forward(value.detach())


class WithoutGradients(nn.Linear):
    """Has parameters, but never trains them."""

    def forward(self, value):
        with torch.no_grad():
            return super().forward(value)


class Replaces(nn.Module):
    """Keeps a running mean by putting a new tensor in the old one's place; `how` spoils it."""

    def __init__(self, how=""):
        super().__init__()
        self.how = how
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, value):
        now = value.mean(0)
        if self.how in ("larger", "resized"):
            self.mean = torch.zeros(4) if self.how == "larger" else self.mean.resize_(4)
        elif self.how == "new":
            self.register_buffer("more", now)
        else:
            self.mean = 0.9 * self.mean + 0.1 * (now if self.how == "graph" else now.detach())
        return value


class ChangesData(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, value):
        self.calls.data += 1
        return value


# Borders


def test_borders_have_the_shapes_of_a_plain_pass():
    sample = torch.rand(2, 3, 32, 32)
    borders = trace_borders(blocks_of(build(CNN, "cpu")), sample)
    shapes = [sample.shape]
    for block in blocks_of(build(CNN, "cpu")):
        sample = block(sample)
        shapes.append(sample.shape)
    assert [border.shape for border in borders] == shapes
    assert {border.dtype for border in borders} == {torch.float32}


def test_token_numbers_may_go_in_and_between_blocks():
    blocks = [ReturnsWholeNumbers(), nn.Embedding(7, 5), nn.Linear(5, 2)]
    borders = trace_borders(blocks, torch.full((3, 4), 6.0))
    assert [tuple(border.shape) for border in borders] == [(3, 4), (3, 4), (3, 4, 5), (3, 4, 2)]
    assert [border.dtype for border in borders] == [
        torch.float32,
        torch.int64,
        torch.float32,
        torch.float32,
    ]


def test_what_crosses_has_the_type_of_the_real_pass():
    borders = trace_borders([Autocast(3, 5), nn.ReLU(), Autocast(5, 2)], torch.ones(4, 3))
    assert [border.dtype for border in borders] == [
        torch.float32,
        torch.bfloat16,
        torch.bfloat16,
        torch.bfloat16,
    ]


@pytest.mark.parametrize(("values", "width"), [(1.0, 3), (2.0, 2)])
def test_a_block_may_look_at_values(values, width):
    assert trace_borders([Looks()], torch.full((4, 3), values))[-1] == Border(
        torch.Size([4, width]), torch.float32
    )


def test_sequences_may_be_packed():
    sequences = torch.rand(4, 6, 3)
    sequences[1, 2:] = 0
    assert trace_borders([Packed(3, 5, batch_first=True)], sequences)[-1].shape == (4, 5)


@pytest.mark.parametrize("size", [1, 2])
def test_batch_norm_needs_more_than_one_value_per_channel(size):
    # At 32 × 32 the last residuals of a ResNet are one pixel wide.
    blocks, sample = blocks_of(build(RESNET, "cpu")), torch.rand(size, 3, 32, 32)
    if size == 2:
        assert trace_borders(blocks, sample)[-1].shape == (2, 10)
        return
    with pytest.raises(
        SettingError, match=r"Expected more than 1 value per channel.*topology\.microbatches"
    ):
        trace_borders(blocks, sample)


def test_a_block_that_rejects_its_input_is_named():
    with pytest.raises(SettingError, match=r"block 1 does not take a micro-batch of \(2, 5\)"):
        trace_borders([nn.Linear(4, 5), nn.Linear(6, 3)], torch.zeros(2, 4))


def test_a_block_that_rejects_a_single_sample_says_that_it_is_one():
    blocks = [nn.Linear(4, 5), nn.BatchNorm1d(5)]
    with pytest.raises(
        SettingError, match=r"block 1 .* it is one sample here: take a train.batch_s"
    ):
        trace_borders(blocks, torch.zeros(1, 4))


class Doubles(nn.Module):
    """In double precision, whatever comes."""

    def forward(self, inputs):
        return inputs.double()


def test_only_inputs_are_the_data_sets_to_convert():
    advice = "in the dataset"
    for before in ([], [nn.Flatten()]):
        with pytest.raises(SettingError, match=advice):
            trace_borders([*before, nn.Linear(3, 2)], torch.zeros(2, 3, dtype=torch.float64))
    with pytest.raises(SettingError, match="block 1 does not take") as caught:
        trace_borders([Doubles(), nn.Linear(3, 2)], torch.zeros(2, 3))
    assert advice not in str(caught.value)


@pytest.mark.parametrize(
    "blocks",
    [
        [ReturnsTwo()],
        [ReturnsWholeNumbers()],
        [ReturnsTwo(), ReturnsTwo()],
        [ReturnsComplexNumbers(), nn.Linear(4, 4)],
    ],
)
def test_a_block_must_return_one_floating_point_tensor(blocks):
    with pytest.raises(
        SettingError, match=r"block 0 .* returns .*: it must return one floating-point"
    ):
        trace_borders(blocks, torch.zeros(2, 4))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("larger", "model: block 1: its first pass makes mean, gives it another form"),
        ("resized", "model: block 1: its first pass makes mean, gives it another form"),
        ("new", "model: block 1: its first pass makes more, gives it another form"),
    ],
)
def test_buffers_that_nobody_could_exchange_are_the_users_mistake(how, message):
    block = Replaces(how)
    with pytest.raises(SettingError, match=message):
        trace_borders([nn.ReLU(), block], torch.ones(2, 3))
    assert block.mean.tolist() == [0, 0, 0]


def test_a_buffer_that_keeps_its_graph_is_the_users_mistake():
    with pytest.raises(
        SettingError, match=r"model: block 1 keeps mean with its graph: detach\(\) what it keeps"
    ):
        trace_gradients([nn.Linear(3, 3), Replaces("graph")], torch.ones(2, 3))


# Gradients


@pytest.mark.parametrize(
    ("blocks", "crossed"),
    [
        ([nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)], [False, True, True]),
        (
            [nn.Flatten(), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(inplace=True)],
            [False, False, False, True],
        ),
        (
            [nn.Linear(3, 3).requires_grad_(False), nn.BatchNorm1d(3), nn.Linear(3, 3)],
            [False, False, True],
        ),
        ([nn.Linear(3, 3), Detaches(3, 3), nn.Linear(3, 3)], [False, False, True]),
        (
            [WithoutGradients(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU()],
            [False, False, False, True],
        ),
        ([nn.Linear(3, 3), WithoutGradients(3, 3)], [False, False]),
    ],
    ids=[
        "plain",
        "nothing to train first",
        "frozen",
        "detached",
        "without gradients",
        "without gradients last",
    ],
)
def test_gradients_cross_where_there_is_something_to_train_on_the_one_side_and_a_way_on_the_other(
    blocks, crossed
):
    assert trace_gradients(blocks, torch.ones(2, 3)) == crossed


# What changes


@pytest.mark.parametrize(
    ("block", "changed"),
    [(nn.BatchNorm1d(3), 3), (nn.Linear(3, 3), 0), (Replaces(), 1), (ChangesData(), 1)],
    ids=["in place", "nothing", "replaced", "behind autograd's back"],
)
def test_buffers_that_a_pass_changes(block, changed):
    found = changed_buffers([block], torch.rand(4, 3) + 1)
    assert found == {id(buffer) for buffer in block.buffers()}
    assert len(found) == changed


@pytest.mark.parametrize("trace", [trace_borders, trace_gradients, changed_buffers])
def test_a_pass_leaves_everything_as_it_was(trace):
    blocks = [
        nn.Linear(3, 3),
        nn.BatchNorm1d(3).eval(),
        Replaces(),
        nn.Dropout(),
        nn.ReLU(inplace=True),
    ]
    state = nn.Sequential(*blocks).state_dict(keep_vars=True)
    values = {name: tensor.detach().clone() for name, tensor in state.items()}
    inputs, drawn = torch.rand(4, 3) - 0.5, torch.get_rng_state()
    given = inputs.clone()
    trace([nn.ReLU(inplace=True), *blocks], inputs)
    after = nn.Sequential(*blocks).state_dict(keep_vars=True)
    for name, tensor in state.items():
        assert after[name] is tensor, name
        assert torch.equal(tensor, values[name]), name
        assert tensor.grad is None
    assert torch.equal(inputs, given)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert [block.training for block in blocks] == [True, False, True, True, True]
