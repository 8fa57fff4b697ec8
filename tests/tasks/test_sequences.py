"""Token ids: which of them count, and what cannot be."""

import pytest
import torch

from tdml.tasks import Language, Masked

_NEARLY_ALL = 0.9999


def test_nothing_is_hidden_where_there_is_no_token():
    task = Masked(mask_token=9, share=_NEARLY_ALL, context=4)
    inputs, targets = task.collate([torch.tensor([5, 6])])
    assert inputs.tolist() == [[9, 9, 0, 0]]
    assert targets.tolist() == [[5, 6, -100, -100]]


@pytest.mark.parametrize("ids", [[5, 6, 7, 3, 3], [3, 3, 5, 6, 7], [5, 6, 7, -100, -100]])
def test_what_fills_samples_up_counts_nothing(ids):
    """However a tokenizer has done it, or with what torch itself leaves out."""
    language, masked = Language(padding=3), Masked(9, share=_NEARLY_ALL, padding=3)
    inputs, targets = language.collate([torch.tensor(ids)])
    said = [token for token in ids[1:] if token not in (3, -100)]
    assert inputs.tolist() == [[3 if token == -100 else token for token in ids[:-1]]]
    assert language.weights(targets).tolist() == [len(said)]
    assert targets[targets != -100].tolist() == said

    hidden, targets = masked.collate([torch.tensor(ids)])
    assert hidden.tolist() == [[3 if token in (3, -100) else 9 for token in ids]]
    assert masked.weights(targets).tolist() == [3]


def test_where_nobody_names_what_fills_samples_up_all_tokens_count():
    _, targets = Language().collate([torch.tensor([5, 6, 3, 3])])
    assert targets.tolist() == [[6, 3, 3]]
