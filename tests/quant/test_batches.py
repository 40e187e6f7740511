"""Batches of training images, and their random changes."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from quant import TrainConfig, fit
from quant.errors import QuantError
from quant.training import lightning_module
from quant.training.batches import AUGMENTATIONS, Batches, flip_crop, shift
from quant.training.config import Augmentation, Loss
from quant.training.objective import NUMBER_LOSSES
from tests.quant.small_training import model_for, small


def test_names_of_losses_and_augmentations():
    assert set(get_args(Loss)) == {*lightning_module.LOSSES, *NUMBER_LOSSES}
    assert set(get_args(Augmentation)) == set(AUGMENTATIONS)


def test_augmentation_is_for_images():
    data = small()
    flat = replace(data, x_train=data.x_train.reshape(-1, 16), x_test=data.x_test.reshape(-1, 16))
    with pytest.raises(QuantError, match=r"augment='shift' is for images, but small has inputs of shape \(16,\)"):
        fit(model_for(flat), flat, TrainConfig(augment="shift"))


def test_batches_are_shared():
    x, y = torch.arange(20).reshape(10, 2), torch.arange(10)

    def batches(rank, processes):
        made = Batches(x, y, 4, shape=(1, 2), seed=5, rank=rank, processes=processes)
        return [list(made), list(made)]

    whole, parts = batches(0, 1), [batches(rank, 2) for rank in (0, 1)]
    assert [len(epoch) for epoch in whole] == [2, 2]
    assert not torch.equal(whole[0][0][1], whole[1][0][1])  # a new order each time
    for epoch in (0, 1):
        for number in (0, 1):
            labels = whole[epoch][number][1]
            assert set(labels.tolist()) == {int(i) for part in parts for i in part[epoch][number][1]}
            assert all(part[epoch][number][0].shape == (2, 1, 2) for part in parts)


def test_augmentation():
    images = torch.zeros(200, 2, 16, 24)
    images[:, 0, 8, 10] = 1
    images[:, 1, 8, 11] = 2
    for part, rows, columns in ((16, range(7, 10), range(9, 12)), (8, range(6, 11), range(7, 14))):
        moved = shift(images, part)
        assert moved.shape == images.shape
        places = moved[:, 0].nonzero()
        assert len(places) == 200
        assert set(places[:, 1].tolist()) == set(rows)
        assert set(places[:, 2].tolist()) == set(columns)
        np.testing.assert_array_equal(moved[:, 1].nonzero()[:, 2], places[:, 2] + 1)  # channels move together
    mirrored = flip_crop(images)
    side = mirrored[:, 1].nonzero()[:, 2] - mirrored[:, 0].nonzero()[:, 2]
    assert 60 < int((side == -1).sum()) < 140
    assert set(side.tolist()) == {-1, 1}
