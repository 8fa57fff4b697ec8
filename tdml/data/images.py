"""Images in memory, served a batch at a time."""

import torch
import torch.nn.functional as F
from torch.utils.data import Dataset


class Images(Dataset):
    """Images held as uint8, normalised when they are read and, if asked, cropped and flipped.

    Args:
        images: (n, channels, height, width) uint8.
        targets: n labels.
        mean, std: per channel, of pixels scaled to [0, 1].
        augment: random crop after zero padding of 4 pixels, and horizontal flip, drawn from torch's
            global generator, which the caller seeds.
    """

    def __init__(
        self,
        images: torch.Tensor,
        targets: list[int],
        mean: list[float],
        std: list[float],
        augment: bool = False,
    ) -> None:
        self.images, self.targets, self.augment = images, targets, augment
        self.mean, self.std = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        images, labels = self.__getitems__([index])
        return images[0], int(labels[0])

    def __getitems__(self, indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch: ((k, channels, height, width) float32, (k,) int64)."""
        images = self.images[indices]
        if self.augment:
            images = crop_and_flip(images, padding=4)
        images = (images.float() / 255 - self.mean) / self.std
        return images, torch.tensor([self.targets[i] for i in indices])


def crop_and_flip(images: torch.Tensor, padding: int) -> torch.Tensor:
    """Each image shifted by up to `padding` pixels both ways (zeros flow in) and mirrored half of
    the time."""
    count, channels, height, width = images.shape
    rows = torch.randint(2 * padding + 1, (count, 1)) + torch.arange(height)
    columns = torch.randint(2 * padding + 1, (count, 1)) + torch.arange(width)
    columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(1), columns)
    padded = F.pad(images, [padding] * 4)
    sample, channel = (
        torch.arange(count).view(-1, 1, 1, 1),
        torch.arange(channels).view(1, -1, 1, 1),
    )
    return padded[sample, channel, rows.view(count, 1, -1, 1), columns.view(count, 1, 1, -1)]
