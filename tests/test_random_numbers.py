"""Every test draws the same numbers, wherever and in which order it runs (tests/conftest.py)."""

import random

import numpy as np
import pytest
import torch


@pytest.mark.parametrize("_time", [1, 2])
def test_the_same_numbers_each_time(_time: int) -> None:
    assert random.random() == random.Random(0).random()
    assert np.random.random() == np.random.RandomState(0).random()
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))
