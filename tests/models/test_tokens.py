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


class _FailsInEvaluation(nn.Module):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        if not self.training:
            raise AttributeError("cache")
        return value


def test_a_model_that_fails_in_evaluation_is_left_to_the_rehearsal() -> None:
    model = nn.Sequential(nn.Embedding(50, 16), _FailsInEvaluation(), nn.Linear(16, 50)).train()
    check_direction(Language(), model, _IDS)
    assert all(block.training for block in model)


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
    ("block", "data", "inputs"),
    [
        (_Columns(), [], torch.tensor([[4, 98, 11], [0, 3, 2]])),
        (_PlacesFirst(), _Data(), _IDS),
        (_Hashed(16, 4), _Data(), _IDS),
    ],
)
def test_numbers_that_the_first_block_takes_are_not_accused(block, data, inputs) -> None:
    check_tokens(nn.Sequential(block), data, inputs)


def test_numbers_that_it_does_not_take_are_told() -> None:
    with pytest.raises(
        SettingError, match="there may be a token 60, which the model does not take"
    ):
        check_tokens(nn.Sequential(_PlacesFirst()), [], _IDS + 60 - int(_IDS.max()))


@pytest.mark.parametrize(("rows", "places"), [(49, 8), (49, 64), (16, 64), (49, 4096)])
def test_a_text_whose_vocabulary_is_larger_is_told_however_many_places_there_are(
    rows: int, places: int
) -> None:
    """The first samples need not have its last tokens: replicas would lose rounds over others."""
    model = gpt(rows, places, layers=1, width=16, heads=2, dropout=0.0, tied=False)
    with pytest.raises(SettingError, match=r"there may be a token 49, .*: set model.vocabulary=50"):
        check_tokens(model, _Data(), _IDS.clamp(max=rows - 1))
    check_tokens(gpt(50, places, 1, 16, 2, 0.0, False), _Data(), _IDS)


@pytest.mark.parametrize("vocabulary", [2**63 + 1, 10**30])
def test_a_vocabulary_beyond_all_numbers_of_tokens_is_told(vocabulary: int) -> None:
    data = _Data()
    data.vocabulary = vocabulary
    with pytest.raises(SettingError, match=f"there may be a token {vocabulary - 1}, which the"):
        check_tokens(nn.Sequential(nn.Embedding(50, 4)), data, _IDS)


@pytest.mark.parametrize("vocabulary", [{"one": 0}, ["one"], "words.txt", None])
def test_a_vocabulary_that_is_no_number_says_nothing(vocabulary: object) -> None:
    """Data sets of others may call their words so."""
    data = _Data()
    data.vocabulary = vocabulary
    check_tokens(nn.Sequential(nn.Embedding(50, 4)), data, _IDS)


def test_what_a_block_does_not_take_for_another_reason_is_laid_on_no_token() -> None:
    check_tokens(nn.Sequential(_PlacesFirst()), _Data(), torch.zeros(2, 9, dtype=torch.int64))
