"""Batches of a data set in memory: order, augmentation, and the share of each process in distributed training."""

from collections.abc import Callable, Iterator

import torch


def shift(images: torch.Tensor, part: int = 16) -> torch.Tensor:
    """Shifts each image (N, C, H, W) at random by up to a ``part``-th of its sides along both axes; pads with zeros."""
    count, channels, height, width = images.shape
    down, right = max(1, height // part), max(1, width // part)
    padded = torch.nn.functional.pad(images, (right, right, down, down))
    device = images.device
    rows = torch.randint(2 * down + 1, (count, 1), device=device) + torch.arange(height, device=device)
    columns = torch.randint(2 * right + 1, (count, 1), device=device) + torch.arange(width, device=device)
    image = torch.arange(count, device=device)[:, None, None, None]
    channel = torch.arange(channels, device=device)[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def flip_crop(images: torch.Tensor) -> torch.Tensor:
    """The usual augmentation for CIFAR: mirrors half of the images (N, C, H, W), and shifts all by up to an eighth."""
    mirrored = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return shift(torch.where(mirrored, images.flip(3), images), part=8)


AUGMENTATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"shift": shift, "flip-crop": flip_crop}
"""Random changes of training images (N, C, H, W), by name. The random numbers are torch's global ones."""


class Batches:
    """Batches ((size, *shape) float32, (size,) labels) of in-memory tensors, in a new order in each epoch.

    This is much faster for such data than a DataLoader's workers. A separate generator, seeded once, draws the order;
    its state (``order``) suffices to continue elsewhere. The last, incomplete batch is dropped, because BatchNorm's
    statistics need batches of equal size, unless it is the only one. If several ``processes`` train together, the
    process with this ``rank`` receives its share, ``size / processes``, of every batch.
    """

    def __init__(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        size: int,
        *,
        shape: tuple[int, ...],
        seed: int,
        augment: str | None = None,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.x, self.y, self.shape = x, y, shape
        self.size = min(size, len(x) - len(x) % processes)
        self.rank, self.processes = rank, processes
        self.augment = None if augment is None else AUGMENTATIONS[augment]
        self.order = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.x) // self.size

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        order = torch.randperm(len(self.x), generator=self.order)
        for batch in order[: len(self) * self.size].split(self.size):
            chosen = batch[self.rank :: self.processes].to(self.x.device)
            x = self.x[chosen]
            if self.augment is not None:
                x = self.augment(x)
            yield x.reshape(len(x), *self.shape).float(), self.y[chosen]
