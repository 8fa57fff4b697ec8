import numpy as np
import pytest
import torch

from tdml.data.images import Images, crop_and_flip


def pictures(count, channels=3, height=6, width=5):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (count, channels, height, width), generator=generator).to(
        torch.uint8
    )


def images(count=4, augment=False):
    return Images(pictures(count), list(range(count)), [0.1, 0.2, 0.3], [0.5, 1.0, 2.0], augment)


def all_crops(image, padding):
    """Every shift of a picture by up to `padding` pixels, plain and mirrored."""
    channels, height, width = image.shape
    wide = np.zeros((channels, height + 2 * padding, width + 2 * padding), np.uint8)
    wide[:, padding : padding + height, padding : padding + width] = image.numpy()
    crops = {}
    for down in range(2 * padding + 1):
        for right in range(2 * padding + 1):
            crop = wide[:, down : down + height, right : right + width]
            crops[crop.tobytes()] = (down, right, False)
            crops[crop[:, :, ::-1].tobytes()] = (down, right, True)
    return crops


def test_pixels_are_normalised_per_channel():
    batch, _ = images().__getitems__([2, 0])
    expected = pictures(4)[[2, 0]].double() / 255
    for channel, (mean, std) in enumerate([(0.1, 0.5), (0.2, 1.0), (0.3, 2.0)]):
        torch.testing.assert_close(
            batch[:, channel], ((expected[:, channel] - mean) / std).float(), rtol=1e-5, atol=1e-6
        )


def test_an_item_is_a_row_of_a_batch():
    dataset = images()
    batch, labels = dataset.__getitems__([3, 1])
    assert torch.equal(dataset[3][0], batch[0])
    assert torch.equal(dataset[1][0], batch[1])
    assert (dataset[3][1], labels.tolist(), labels.dtype) == (3, [3, 1], torch.int64)
    assert isinstance(dataset[3][1], int)
    assert len(dataset) == 4


def test_an_augmented_picture_is_a_shifted_or_mirrored_one():
    sources = pictures(40)
    torch.manual_seed(0)
    for image, changed in zip(sources, crop_and_flip(sources, padding=2), strict=True):
        assert changed.numpy().tobytes() in all_crops(image, 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_shift_comes_and_half_are_mirrored(channels):
    image = pictures(1, channels)
    crops = all_crops(image[0], 1)
    torch.manual_seed(0)
    drawn = [
        crops[changed.numpy().tobytes()]
        for changed in crop_and_flip(image.repeat(2000, 1, 1, 1), padding=1)
    ]
    counts = {crop: drawn.count(crop) for crop in set(drawn)}
    assert len(counts) == 9 * 2
    assert min(counts.values()) > 70  # of 111 expected
    assert 0.45 < sum(mirrored for _, _, mirrored in drawn) / 2000 < 0.55


def test_pictures_of_a_batch_are_augmented_one_by_one():
    image = pictures(1)
    torch.manual_seed(0)
    assert (
        len(
            {
                changed.numpy().tobytes()
                for changed in crop_and_flip(image.repeat(20, 1, 1, 1), padding=4)
            }
        )
        > 10
    )


def test_without_padding_pictures_are_at_most_mirrored():
    sources = pictures(10)
    torch.manual_seed(0)
    for image, changed in zip(sources, crop_and_flip(sources, padding=0), strict=True):
        assert torch.equal(changed, image) or torch.equal(changed, image.flip(2))


def test_augmentation_is_off_unless_asked_for():
    plain = Images(pictures(4), [0, 1, 2, 3], [0.1, 0.2, 0.3], [0.5, 1.0, 2.0])
    augmented = images(4, augment=True)
    assert torch.equal(plain.__getitems__([0, 1])[0], plain.__getitems__([0, 1])[0])
    assert not torch.equal(
        augmented.__getitems__([0, 1, 2, 3])[0], plain.__getitems__([0, 1, 2, 3])[0]
    )


def test_augmentation_leaves_the_stored_pictures_alone():
    dataset = images(augment=True)
    dataset.__getitems__([0, 1, 2, 3])
    assert torch.equal(dataset.images, pictures(4))
