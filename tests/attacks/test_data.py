import pytest
import torch

from tdml.attacks import Backdoor, LabelFlip
from tests.attacks.contexts import context


def test_label_flip_by_hand():
    attack, labels = LabelFlip(10), torch.tensor([0, 1, 4, 9])
    assert attack.poison_labels(labels, context()).tolist() == [9, 8, 5, 0]
    assert attack.poison_labels(labels, context()).dtype == torch.int64
    own = torch.tensor([1.0])
    assert attack.corrupt(own, context()) is own


@pytest.mark.parametrize(
    ("share", "batch", "poisoned"),
    [(0.5, 8, 4), (0.3, 8, 3), (0.3125, 64, 20), (0, 8, 0), (1, 8, 8)],
)
def test_the_backdoor_touches_its_share_of_the_batch_and_no_more(share, batch, poisoned):
    attack = Backdoor(target=3, share=share, size=2, value=9.0)
    inputs, labels = torch.zeros(batch, 3, 6, 5), torch.full((batch,), 7)
    images, answers = (
        attack.poison_inputs(inputs, context()),
        attack.poison_labels(labels, context()),
    )
    assert answers.tolist() == [3] * poisoned + [7] * (batch - poisoned)
    assert (images[:poisoned, :, 4:, 3:] == 9).all()
    assert images.sum() == poisoned * 3 * 4 * 9  # and nothing else changed
    assert not inputs.any()
    assert (labels == 7).all()


def test_the_stamp_leaves_the_rest_of_the_image():
    image = torch.arange(12.0).view(1, 3, 4)
    stamped = Backdoor(target=0, share=0.1, size=2, value=-1.0).stamp(image)
    assert stamped.tolist() == [[[0, 1, 2, 3], [4, 5, -1, -1], [8, 9, -1, -1]]]
