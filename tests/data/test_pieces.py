"""What held-out samples are evaluated on."""

import pytest
import torch
from torch.utils.data import Dataset

from tdml.data import pieces
from tdml.data.source import Source
from tdml.tasks import Masked


class Tokens(Dataset):
    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.arange(2, 14)


@pytest.mark.parametrize("given", [False, True], ids=["read by nodes", "the coordinator's alone"])
def test_other_tokens_are_hidden_in_every_batch_and_the_same_in_every_round(given: bool) -> None:
    third = Tokens() if given else None
    source = Source(Tokens(), Tokens(), 0, task=Masked(mask_token=1, share=0.2), validation=third)
    positions = torch.arange(source.size("validation"))

    def hidden(size: int) -> list[list[bool]]:
        asked = pieces.held_out(source, "validation", positions, size)
        read = [pieces.read(source, piece)[0] for piece in asked]
        return [(inputs == 1).flatten().tolist() for inputs in read]

    first = hidden(4)
    assert len({tuple(each) for each in first}) == len(first), "no two batches hide the same"
    assert hidden(4) == first
