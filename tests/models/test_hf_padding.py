"""What of a classifier's texts is padding."""

import torch

from tdml.models.hf_padding import mask_of


def test_padding_is_what_stands_before_and_behind_a_text():
    """Within, it may be the token that ends a sentence: many decoders have no other."""
    ids = torch.tensor([[0, 5, 0, 6, 0, 0], [1, 2, 3, 4, 5, 6], [0] * 6])
    assert mask_of(ids, 0).tolist() == [[0, 1, 1, 1, 0, 0], [1] * 6, [1] * 6]
