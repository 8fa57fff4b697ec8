import pytest
import torch
from torch import nn

from tdml.errors import SettingError
from tdml.models.gpt import gpt
from tdml.models.tokens import check_direction, check_tokens, looks_ahead
from tdml.tasks import Language

_IDS = torch.randint(0, 50, (2, 8), generator=torch.Generator().manual_seed(0))


class _MeanOfAll(nn.Module):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value + value.mean(dim=1, keepdim=True)


def test_a_model_that_looks_at_the_tokens_that_it_is_to_predict_is_refused() -> None:
    blocks = [nn.Embedding(50, 16), nn.Linear(16, 50)]
    check_direction(Language(), nn.Sequential(*blocks), _IDS)
    with pytest.raises(SettingError, match=r"take a causal model .* or task=masked"):
        check_direction(Language(), nn.Sequential(blocks[0], _MeanOfAll(), blocks[1]), _IDS)


def test_our_own_looks_back_alone_and_is_left_as_it_was() -> None:
    model = gpt(50, 8, layers=2, width=16, heads=2, dropout=0.5, tied=False).train()
    check_direction(Language(), model, _IDS)
    assert model.training and all(block.training for block in model)
    check_direction(Language(), model, torch.zeros(2, 8, dtype=torch.int64))


def test_where_there_are_no_tokens_none_is_beyond_the_model() -> None:
    model = nn.Sequential(nn.Embedding(50, 16), nn.Linear(16, 50))
    check_tokens(model, [], torch.zeros(2, 0, dtype=torch.int64))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("blocks", "ahead"),
    [
        ([nn.Embedding(50, 16), nn.Linear(16, 50)], False),
        ([nn.Embedding(50, 16), _MeanOfAll(), nn.Linear(16, 50)], True),
    ],
)
def test_whether_a_model_looks_ahead_is_seen_on_tokens_that_differ(
    blocks: list[nn.Module], ahead: bool
) -> None:
    model = nn.Sequential(*blocks)
    assert looks_ahead(model, _IDS) is ahead
    for untold in (torch.zeros(2, 8), torch.ones(2, 1), torch.rand(2, 8, 3)):
        assert looks_ahead(model, untold.long()) is None


class _Columns(nn.Module):
    """Of categories, of which the last column has most."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, 2) for size in (5, 100, 12))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        columns = value.unbind(1)
        return torch.cat([t(c) for t, c in zip(self.tables, columns, strict=True)], dim=1)


class _PlacesFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.places, self.tokens = nn.Embedding(8, 4), nn.Embedding(50, 4)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return self.tokens(value) + self.places.weight


class _Hashed(nn.Embedding):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return super().forward(value % self.num_embeddings)


class _Data(list):
    vocabulary = 50


@pytest.mark.parametrize(
    ("block", "inputs"),
    [
        (_Columns(), torch.tensor([[4, 98, 11], [0, 3, 2]])),
        (_PlacesFirst(), _IDS),
        (_Hashed(16, 4), _IDS),
    ],
)
def test_numbers_that_the_first_block_takes_are_not_accused(block, inputs) -> None:
    check_tokens(nn.Sequential(block), _Data(), inputs)


def test_numbers_that_it_does_not_take_are_told() -> None:
    with pytest.raises(SettingError, match=r"there may be a token 60, and .* of the model has 50"):
        check_tokens(nn.Sequential(_PlacesFirst()), [], _IDS + 60 - int(_IDS.max()))
    with pytest.raises(
        SettingError, match="there may be a token 49, and the vocabulary of the model has 49"
    ):
        check_tokens(nn.Sequential(nn.Embedding(49, 4)), _Data(), _IDS.clamp(max=48))
